"""A10: the same command has the same bits, with other threads at a resume and in a folder that was moved as well."""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

import covary.resuming
from covary.keyed import derive
from covary.training import train
from reliability import runs
from reliability.row import Count, Figure, Row, replaced

LARGE = runs.tiny(batch_size=16, data="shapes:n=64")  # large enough for two threads to sum in another order


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Run twice; stop and continue with other threads; stop, move the folder and continue; compare bits."""
    runs.prepare(folder)
    draw, count = random.Random(seed), Count()
    reference = {threads: ended(folder / f"reference-{threads}", threads) for threads in (1, 2)}
    differs = reference[1] != reference[2]
    for trial, kind in zip(range(trials), itertools.cycle(("twice", "1 to 2", "2 to 1", "moved")), strict=False):
        place, step = folder / str(trial), draw.randrange(1, runs.STEPS)
        if kind == "twice":
            fired, seen, wanted = True, ended(place, 1), reference[1]
        elif kind == "moved":
            fired = stopped(place, 1, step)
            moved = Path(shutil.move(place, folder / "elsewhere" / str(trial)))
            seen, wanted = ended(moved, 1), reference[1]
        else:
            before, after = (int(word) for word in kind.split(" to "))
            fired = stopped(place, before, step) and differs
            seen, wanted = ended(place, after), reference[before]
        count.add(f"{kind}, at step {step}", held=seen == wanted, fired=fired, seen=seen)
    return count.figure()


def ended(folder: Path, threads: int) -> str:
    """Train to the end in a child with a number of threads; return the digest."""
    with runs.at_call(0, "covary.training.build", partial(torch.set_num_threads, threads)):
        return runs.finish(folder, LARGE)


def stopped(folder: Path, threads: int, step: int) -> bool:
    """Train with a number of threads in a child that is killed at a step; return whether it was."""

    def work() -> None:
        torch.set_num_threads(threads)
        with runs.at_call(step, "covary.step.make_views", lambda: os.kill(os.getpid(), signal.SIGKILL)):
            train(LARGE, folder, runs.SESSION)

    return runs.ended(runs.fork(work)) == -signal.SIGKILL


def threads_as_they_are(saved: dict[str, Any], name: str, *others: Any) -> Any:
    """Return what run.json says, but of threads what there is now."""
    return torch.get_num_threads() if name == "threads" else recorded(saved, name, *others)


def seeded_by_process(seed: int, *names: str | int) -> int:
    """Return a seed that is another in every process."""
    return derive(seed, os.getpid(), *names)


recorded: Callable[..., Any] = covary.resuming.recorded

ROW = Row(
    id="A10",
    promise="The same command has the same bits, continued under other thread counts or in a moved folder as well",
    trials={"ci": 20, "release": 80},
    check=check,
    mutants={
        "threads not restored": replaced("covary.resuming.recorded", threads_as_they_are),
        "seeded by the process": replaced("covary.step.derive", seeded_by_process),
    },
    mutant_trials=4,
)
