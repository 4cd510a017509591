"""What an export leaves: a file, or a folder, that is there whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from covary.rundir import sync_folder


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An export.

    path:       file or folder.
    bytes:      of all its files.
    difference: largest difference of features of random images from those of the run's encoder.
    lines:      Python, without covary, that loads it.
    """

    path: Path
    bytes: int
    difference: float
    lines: tuple[str, ...]


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give an empty folder beside ``out``, which takes that name when the block ends, and is removed if it fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        sync_folder(staging)
        staging.rename(out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
