"""What a command leaves: a file, or a folder, that is there whole or not at all, and replaces nothing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covary.errors import InputError
from covary.rundir import sync_folder


def check_free(out: Path, *, suffix: str) -> None:
    """Raise InputError unless a file with this suffix, or a folder where that is empty, can be put at ``out``."""
    if suffix and out.suffix != suffix:
        raise InputError(f"--out is '{out}'; expected a file that ends in {suffix}.")
    if os.path.lexists(out):
        raise InputError(f"{out} exists and is not replaced; remove it, or give another --out.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"{out} cannot be written: {parent} is no folder that you may write to; give another --out.")


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
