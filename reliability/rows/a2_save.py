"""A2: killed at any one operation on its files, before it or amid its bytes, a run continues with the same bits."""

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import covary.step
from covary import rundir
from covary.rundir import RunDir
from covary.training import train
from reliability import runs
from reliability.row import Count, Figure, Row, replaced
from reliability.rows.a1_kill import newest_step

INTERVAL = 3  # steps between checkpoints: of steps 3, 6 and 8, the last of which removes the first
SESSION = replace(runs.SESSION, checkpoint_steps=INTERVAL)
AUDITED = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")  # Python's own audit events
ALL = 1000  # more than there are
NEVER = -1


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Kill a run at each of its points; look at what is there, continue it to its end, compare its bits."""
    runs.prepare(folder)
    reference, count = runs.finish(folder / "reference", session=SESSION), Count()
    log, place = folder / "points", folder / "run"
    runs.ended(runs.fork(lambda: watched(place, NEVER, log)))
    total = len(log.read_text().splitlines())
    shutil.rmtree(place)
    for point in sorted(random.Random(seed).sample(range(total), min(trials, total))):
        killed = runs.ended(runs.fork(lambda at=point: watched(place, at, log))) == -signal.SIGKILL
        name, steps = log.read_text().splitlines()[-1].rsplit(" ", 1)
        newest = newest_step(place)
        kept = newest is not None and newest >= int(steps) - INTERVAL
        seen = runs.finish(place, session=SESSION)
        stale = [str(file.relative_to(place)) for file in place.rglob(".*") if file.name != ".lock"]
        held = seen == reference and kept and not stale
        count.add(f"killed at {name}", held=held, fired=killed, seen=f"{seen}, {stale}, from {newest} of {steps}")
        shutil.rmtree(place, ignore_errors=True)
    return count.figure(points=total)


def watched(folder: Path, point: int, log: Path) -> None:
    """Train; write a line for every operation on files of the run, and die at the one of a number.

    A line names the operation and how many steps were taken.
    """
    lines = open(log, "w", buffering=1)  # noqa: SIM115 - until the process ends
    taken = passed = 0
    dying = False

    def reach(name: str, last: Callable[[], object] = lambda: None) -> None:
        nonlocal passed, dying
        if dying:
            return
        lines.write(f"{name} {taken}\n")
        if passed == point:
            dying = True
            last()
            die()
        passed += 1

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in AUDITED or not isinstance(arguments[0], str | Path):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        path = Path(arguments[0])
        if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # relative to a folder that is open
            path = Path(os.readlink(f"/proc/self/fd/{arguments[1]}"), path)
        if path.is_relative_to(folder):
            reach(f"{event} {path.relative_to(folder)}")

    def fsync(descriptor: int) -> None:
        reach(f"fsync of {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        real_fsync(descriptor)

    def write(path: Path, content: bytes) -> None:
        for end in (0, 1, len(content) // 2, len(content) - 1):
            reach(f"{end} bytes of {path.name}", lambda part=content[:end]: path.write_bytes(part))
        real_write(path, content)

    def make_views(*arguments: Any, **options: Any) -> Any:
        nonlocal taken
        taken += 1
        return real_views(*arguments, **options)

    real_fsync, real_write, real_views = os.fsync, rundir._write_synced, covary.step.make_views
    sys.addaudithook(audit)
    with (
        patch("os.fsync", fsync),
        patch("covary.rundir._write_synced", write),
        patch("covary.step.make_views", make_views),
    ):
        train(runs.RUN, folder, SESSION)


def die() -> NoReturn:
    """Kill this process."""
    while True:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def older_removed_first() -> Iterator[None]:
    """Make room before a checkpoint is written and not after."""
    real = RunDir.save_checkpoint

    def save_checkpoint(self: RunDir, *arguments: Any) -> list[str]:
        for old in self.path.glob("checkpoints/step-*"):
            shutil.rmtree(old)
        return real(self, *arguments)

    with patch.object(RunDir, "save_checkpoint", save_checkpoint):
        yield


ROW = Row(
    id="A2",
    promise="Killed at any operation of a save, it continues with the same bits, at most one interval lost, no litter",
    trials={"ci": ALL, "release": ALL},
    check=check,
    mutants={
        "older removed first": older_removed_first,
        "nothing swept": replaced("covary.rundir.RunDir.clear_staging", lambda self: None),
    },
    mutant_trials=14,
)
