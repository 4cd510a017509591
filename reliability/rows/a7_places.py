"""A7: a place that a run cannot be written to is refused at once, with nothing read and nothing left; odd names work."""

import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

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
    "-dash",
    "x" * 240,
    "/".join(["y" * 59] * 4),
    os.fsdecode(b"no-utf8-\xff"),
)


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Start runs in places that can be written to and in others, by relative and absolute paths."""
    runs.prepare(folder)
    count, waits = Count(), [0.0]
    reference = runs.finish(folder / "reference")
    cases = [*((out, prepare) for out, prepare in REFUSED.items()), *((out, None) for out in WORKS)]
    for trial in range(trials):
        out, prepare = cases[trial % len(cases)]
        ...
