"""A1: a run that is killed at random moments ends with the bits of one that was left alone."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load, save
from torch import Tensor

from covary.checkpoint import Checkpoint
from covary.rundir import RunDir
from reliability import runs
from reliability.row import Count, Figure, Row

KILLS = (1, 1, 1, 2, 2, 3)  # drawn for each run, which may end before its last
STARTS = 20  # after which a run that always ended before its first kill is given up, and no fault was seen


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Kill each run at random moments, continue it to its end, compare its bits with those of a run left alone."""
    runs.prepare(folder)
    draw, count = random.Random(seed), Count()
    runs.finish(folder / "first")  # renders the images
    began = time.monotonic()
    reference = runs.finish(folder / "reference")
    duration = time.monotonic() - began
    kills = saving = lost = 0
    for trial in range(trials):
        place, planned, done, committed, gone = folder / "run", draw.choice(KILLS), 0, 0, 0
        for _ in range(STARTS):
            if done == planned:
                break
            if not killed(place, draw.uniform(0, duration)):
                if done:
                    break
                shutil.rmtree(place)  # it ended before its first kill: that is no trial
                continue
            done += 1
            saving += any(place.glob("checkpoints/.staging-*"))
            newest = newest_step(place)
            gone += newest is None or newest < committed
            committed = newest or 0
        seen = runs.finish(place)
        count.add(f"run {trial}, killed {done} times", held=seen == reference and not gone, fired=done > 0, seen=seen)
        kills, lost = kills + done, lost + gone
        shutil.rmtree(place, ignore_errors=True)
    return count.figure(kills=kills, **{"while saving": saving, "checkpoints lost": lost})


def killed(folder: Path, delay: float) -> bool:
    """Train in a child and kill it after some seconds; return whether it was still alive."""
    pid = runs.start(folder)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)  # one that has ended is there until it is waited for
    return runs.ended(pid) == -signal.SIGKILL


def newest_step(folder: Path) -> int | None:
    """Return the step of the newest checkpoint, 0 where there is none yet, None where it is not whole."""
    try:
        checkpoint, damaged = RunDir(folder).newest_checkpoint()
    except Exception:  # whatever a mutant's reader raises
        return None
    if damaged:
        return None
    return checkpoint.step if checkpoint else 0


@contextmanager
def saved_in_place() -> Iterator[None]:
    """Keep one file that every checkpoint is written over, read without a look at sums, as most libraries do."""

    def place(folder: RunDir) -> Path:
        return folder.path / "checkpoints" / "step-0" / "state.safetensors"

    def save_checkpoint(self: RunDir, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> list[str]:
        place(self).parent.mkdir(parents=True, exist_ok=True)
        with open(place(self), "wb") as file:
            file.write(save({**{name: t.contiguous() for name, t in tensors.items()}, "step": torch.tensor(step)}))
        return []

    def newest_checkpoint(self: RunDir) -> tuple[Checkpoint | None, list[str]]:
        if not place(self).exists():
            return None, []
        tensors = load(place(self).read_bytes())
        return Checkpoint(step=int(tensors.pop("step")), tensors=tensors, meta={}), []

    with patch.multiple(RunDir, save_checkpoint=save_checkpoint, newest_checkpoint=newest_checkpoint):
        yield


ROW = Row(
    id="A1",
    promise="Killed at random moments, up to three times, a run ends with the same bits, and no checkpoint is lost",
    trials={"ci": 200, "release": 1000},
    check=check,
    mutants={"saved in place": saved_in_place},
    mutant_trials=15,
)
