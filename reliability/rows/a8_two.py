"""A8: of two processes that start on one run folder at once, one trains; the other is told who."""

import os
import select
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from covary.errors import InputError
from covary.rundir import RunDir
from reliability import runs
from reliability.row import Count, Figure, Row, replaced

EVERY = 11  # of so many trials one is an owner killed
WITHIN = 5.0  # seconds in which the loser has to leave


class Racer(NamedTuple):
    """A child that waits for the gun, trains, and waits before its first step until it is let go."""

    pid: int
    log: Path


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Let two processes start at once, or one on what a killed one held; compare bits with those of a run alone."""
    runs.prepare(folder)
    count, reference = Count(), runs.finish(folder / "reference")
    for trial in range(trials):
        run = folder / "run"
        held, seen = after_a_kill(run) if trial % EVERY == EVERY - 1 else race(run)
        digest = runs.digest(run) if held else seen
        name = "owner killed" if trial % EVERY == EVERY - 1 else "race"
        count.add(f"{name} {trial}", held=digest == reference, seen=digest)
        shutil.rmtree(run, ignore_errors=True)
    return count.figure()


def race(run: Path) -> tuple[bool, str]:
    """Start two at once; return whether one trained to its end and the other was refused with the one's name."""
    gun, go = os.pipe(), os.pipe()
    racers = [racer(run, index, gun[0], go[0]) for index in range(2)]
    os.write(gun[1], b"!!")
    waiting = {one.pid: os.pidfd_open(one.pid) for one in racers}
    ready, _, _ = select.select(list(waiting.values()), [], [], WITHIN)
    os.write(go[1], b"!!")
    codes = [runs.ended(one.pid) for one in racers]
    for descriptor in (*gun, *go, *waiting.values()):
        os.close(descriptor)
    if sorted(codes) != [0, 2] or not ready:
        return False, f"codes {codes}"
    winner, loser = racers[codes.index(0)], racers[codes.index(2)]
    line = loser.log.read_text()
    owner = f"(process {winner.pid} on {socket.gethostname()})"
    return line.startswith("covary: Another run is writing to") and owner in line, line


def racer(run: Path, index: int, gun: int, go: int) -> Racer:
    """Return a child that starts at the gun."""
    log = run.with_suffix(f".{index}.log")

    def work() -> int:
        os.read(gun, 1)
        with runs.at_call(0, "covary.step.make_views", lambda: os.read(go, 1)):
            return runs.command("--out", str(run))

    return Racer(runs.fork(work, log=log), log)


def after_a_kill(run: Path) -> tuple[bool, str]:
    """Kill the owner of a folder; return whether the next process finds it free."""
    held = os.pipe()

    def hold() -> None:
        os.write(held[1], b"!")
        signal.pause()

    def work() -> int:
        with runs.at_call(0, "covary.step.make_views", hold):
            return runs.command("--out", str(run))

    pid = runs.fork(work)
    os.read(held[0], 1)
    os.kill(pid, signal.SIGKILL)
    killed = runs.ended(pid) == -signal.SIGKILL and (run / ".lock").exists()
    for descriptor in held:
        os.close(descriptor)
    code = runs.ended(runs.fork(lambda: runs.command("--out", str(run))))
    return killed and code == 0, f"killed {killed}, code {code}"


@contextmanager
def unlocked(self: object) -> Iterator[None]:
    """Let anybody in."""
    yield


@contextmanager
def lock_by_file(self: RunDir) -> Iterator[None]:
    """Hold the folder by a file that is there, as many programs do: it outlives its process."""
    file = self.path / ".lock"
    try:
        file.touch(exist_ok=False)
    except FileExistsError as error:
        raise InputError(f"Another run is writing to {self.path}") from error
    yield
    file.unlink()


ROW = Row(
    id="A8",
    promise="Of two processes on one run folder one trains, the other names it and exits with 2; a dead owner is none",
    trials={"ci": 55, "release": 220},
    check=check,
    mutants={
        "no lock": replaced("covary.rundir.RunDir.lock", unlocked),
        "a file as lock": replaced("covary.rundir.RunDir.lock", lock_by_file),
    },
    mutant_trials=2,
)
