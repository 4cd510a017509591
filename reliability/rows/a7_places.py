"""A7: a place that a run cannot be written to is refused at once, nothing read and nothing left; odd names work."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from unittest.mock import patch

from covary.rundir import RunDir
from reliability import runs
from reliability.mounts import own_mounts, read_only
from reliability.row import Count, Figure, Row, replaced

WITHIN = 2.0  # seconds until a refusal


def file_at(path: Path) -> None:
    """Put a file where a folder belongs."""
    path.write_text("mine")


def read_only_folder(path: Path) -> None:
    """Make a folder that nobody can write to."""
    own_mounts()
    path.mkdir()
    read_only(path)


def nothing(path: Path) -> None:
    """Need nothing beforehand."""


# what --out is (below the folder that the command is started in), what lies at its first part
REFUSED: dict[str, Callable[[Path], None]] = {
    "read-only": read_only_folder,
    "read-only/new": read_only_folder,
    "read-only/a/b/c": read_only_folder,
    "file": file_at,
    "file/run": file_at,
    "file/a/b": file_at,
    "x" * 256: nothing,
    f"new/{'x' * 256}": nothing,
    "loop": lambda path: path.symlink_to(path.name),
    "nowhere": lambda path: path.symlink_to("/proc/nowhere/at/all"),
}
WORKS = (
    "run",
    "missing/parents/run",
    "./run/../run2",
    "läuft",
    "実行",
    "two words",
    "two\nlines",
    " ",
    "./-dash",
    "x" * 240,
    "/".join(["y" * 59] * 4),
    os.fsdecode(b"no-utf8-\xff"),
)


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Start runs in places that cannot be written to and in odd ones, by relative and absolute paths in turns."""
    runs.prepare(folder)
    count, waits = Count(), []
    reference = runs.finish(folder / "reference")
    cases = [*REFUSED.items(), *((out, nothing) for out in WORKS)]
    for trial in range(trials):
        out, prepare = cases[trial % len(cases)]
        place = folder / str(trial)
        place.mkdir()
        work = partial(refused if out in REFUSED else works, place, out, prepare, trial % 2 == 0, reference)
        try:
            held, seen, seconds = runs.answer(work, folder / "log")
            waits += [seconds] * (out in REFUSED)
            count.add(repr(out), held=held, seen=seen)
        except RuntimeError as error:  # such as a system without mounts of one's own
            count.add(repr(out), held=False, fired=False, seen=error)
    return count.figure(refused=len(waits), **{"slowest refusal, seconds": round(max(waits, default=0.0), 2)})


def refused(
    place: Path, out: str, prepare: Callable[[Path], object], relative: bool, reference: str
) -> tuple[bool, str, float]:
    """Start where nothing can be written; return whether it was refused at once, what was seen, and the seconds."""
    os.chdir(place)
    prepare(place / Path(out).parts[0])
    before = sorted(place.rglob("*"))
    began = time.monotonic()
    code, log = started(place, out, relative)
    seconds = time.monotonic() - began
    left = sorted(set(place.rglob("*")) - set(before))
    said = log.startswith("covary: The run folder ") and log.count("\n") == 1 and log.endswith("give another --out.\n")
    return code == 2 and said and not left and seconds < WITHIN, f"code {code}, left {left}, {log}", seconds


def works(
    place: Path, out: str, prepare: Callable[[Path], object], relative: bool, reference: str
) -> tuple[bool, str, float]:
    """Start in a place of an odd name; return whether the run was there as anywhere else, and what was seen."""
    os.chdir(place)
    code, log = started(place, out, relative)
    seen = runs.digest(Path(out)) if code == 0 else log
    return seen == reference, f"code {code}, {seen}", 0.0


def started(place: Path, out: str, relative: bool) -> tuple[int, str]:
    """Run the command in a child with a cache of its own; return its exit code and what it printed."""
    log = place.with_suffix(".log")
    options = (f"--out={out if relative else place / out}", f"--cache={place / 'cache'}")
    code = runs.ended(runs.fork(lambda: runs.command(*options), log=log))
    return code, log.read_text(errors="replace")


@contextmanager
def made_late() -> Iterator[None]:
    """Make the run folder after images are read and the network is built, as most libraries do."""
    with (
        patch.object(RunDir, "made", lambda self: nullcontext()),
        patch.object(RunDir, "lock", lambda self: nullcontext()),
    ):
        yield


ROW = Row(
    id="A7",
    promise="A place that cannot be written to is refused within 2 s, nothing read, nothing left; odd names work",
    trials={"ci": len(REFUSED) + len(WORKS), "release": 2 * (len(REFUSED) + len(WORKS))},
    check=check,
    mutants={
        "looked at late": made_late,
        "nothing taken back": replaced("covary.rundir._remove_empty", lambda folders: None),
    },
    mutant_trials=len(REFUSED),
)
