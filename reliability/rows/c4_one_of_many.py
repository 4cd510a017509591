"""C4: what happens to one of several processes ends all of them soon, tells the cause, and the run can be continued."""

import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file

import covary.step
from covary import dist, rundir
from covary.cli import complain
from covary.errors import InputError, TrainingError
from covary.methods import AbstractMethod
from covary.run import Run
from covary.stop import Interrupted
from covary.training import Session, train
from reliability.ranks import Ended, start
from reliability.row import Count, Figure, Row, replaced
from reliability.small import quiet, small_run

LIMIT = 20.0  # seconds from the fault to the end of the last process
PER_EPOCH, BATCH = 4, 8
SESSION = quiet(checkpoint_steps=2, log_steps=2)
RUN = small_run("byol", images=PER_EPOCH * BATCH + 3, batch_size=BATCH)  # three images are left over in an epoch


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Let something happen to one process of two at a random step; look how all end, and continue the run."""
    draw, count, slowest = random.Random(seed), Count(), 0.0
    whole = folder / "whole"
    codes = [each.code for each in start(partial(job, RUN, whole), 2, folder / "ranks-whole").wait(120)]
    right = load_file(whole / "method.safetensors") if codes == [0, 0] else {}
    for trial in range(trials):
        kind, expected, cause = KINDS[trial % len(KINDS)]
        rank, step = draw.randrange(2), draw.randrange(1, 2 * PER_EPOCH - 1)
        run = UNSPLIT if kind == "odd share" else RUN
        out, name = folder / str(trial), f"{kind} of process {rank} at step {step}"
        began = time.monotonic()
        ended = start(partial(job, run, out, kind=kind, rank=rank, step=step), 2, folder / f"ranks-{trial}").wait(60)
        fired = [each.printed.split("FIRED ")[1].split()[0] for each in ended if "FIRED" in each.printed]
        took = time.time() - float(fired[0]) if fired else time.monotonic() - began
        slowest = max(slowest, took)
        told = any(cause in each.printed for each in ended)
        held = took <= LIMIT and told and all(ends(each, expected) for each in ended)
        if held and kind not in ("odd share", "unused head"):
            again = start(partial(job, RUN, out), 2, folder / f"again-{trial}").wait(120)
            file = out / "method.safetensors"
            held = [each.code for each in again] == [0, 0] and same(load_file(file), right)
        seen = [(each.code, each.printed[-400:]) for each in ended]
        count.add(name, held=held, fired=bool(fired), seen=f"{took:.0f} s {seen}")
    return count.figure(**{"slowest end, s": round(slowest, 1)})


KINDS = (  # what happens, exit codes that may follow, words that tell the cause
    ("killed", (1, -signal.SIGKILL), "Another process has ended"),
    ("raises", (1,), "broken by the test"),
    ("input is wrong", (1, 2), "wrong in one process"),
    ("SIGTERM", (128 + signal.SIGTERM,), "stopped by SIGTERM"),
    ("SIGUSR1", (128 + signal.SIGUSR1,), "stopped by SIGUSR1"),
    ("disk full", (1,), "cannot be written"),
    ("unused head", (2,), "have no part in the loss, such as unused.weight"),
    ("odd share", (2,), "does not split over 2 processes"),
)
UNSPLIT = small_run("byol", images=40, batch_size=9)


def ends(ended: Ended, expected: tuple[int, ...]) -> bool:
    """Return whether a process ended by itself, or by the kill, with one of the expected codes."""
    return ended.code in expected


def same(found: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Return whether both hold the same bits."""
    return found.keys() == right.keys() and all(torch.equal(found[name], right[name]) for name in right)


def job(run: Run, out: Path, session: Session = SESSION, *, kind: str = "", rank: int = -1, step: int = -1) -> int:
    """Train as the command does, and let something happen; return the exit code."""
    with happens(kind, rank=rank, step=step):
        try:
            train(run, out, session)
        except (InputError, TrainingError) as error:
            complain(str(error), first=error.first)
            return 2 if isinstance(error, InputError) else 1
        except Interrupted as stop:
            complain(str(stop))
            return 128 + stop.signum
    return 0


@contextmanager
def happens(kind: str, *, rank: int, step: int) -> Iterator[None]:
    """Let something happen to the process ``rank`` before the step ``step``, or in the next save of the main one."""
    real, build, taken = covary.step.make_views, Run.build_method, []
    real_write = rundir._write_synced

    def act() -> None:
        print("FIRED", time.time(), flush=True)
        match kind:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raises":
                raise ValueError("broken by the test")
            case "input is wrong":
                raise InputError("an image is wrong in one process")
            case "SIGTERM" | "SIGUSR1":
                os.kill(os.getpid(), signal.Signals[kind])

    def views(*arguments: Any, **options: Any) -> Any:
        taken.append(1)
        if len(taken) == step + 1 and dist.rank() == rank and kind not in ("disk full", "unused head"):
            act()
        return real(*arguments, **options)

    def write(path: Path, content: bytes) -> None:
        if path.name == "state.safetensors":
            act()
            raise OSError(28, "No space left on device")
        real_write(path, content)

    def method(run: Run) -> AbstractMethod:
        built = build(run)
        built.add_module("unused", torch.nn.Linear(2, 2))
        act()
        return built

    with patch.object(covary.step, "make_views", views):
        if kind == "odd share":
            act()
        if kind == "disk full":
            with patch("covary.rundir._write_synced", write):
                yield
        elif kind == "unused head":
            with patch.object(Run, "build_method", method):
                yield
        else:
            yield


def forgets_signals(number: int) -> int:
    """Return one's own number: what a process knows that asks no other."""
    return number


ROW = Row(
    id="C4",
    promise="When one of several processes fails, is killed or signalled, all end within 20 s with the cause told, and "
    "the same command continues to the same weights",
    trials={"ci": 12, "release": 40},
    check=check,
    mutants={
        "errors of others told as they come": replaced("covary.dist.LOST", re.compile("(?!)")),
        "own signal alone": replaced("covary.dist.largest", forgets_signals),
    },
    mutant_trials=5,
)
