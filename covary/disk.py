"""What is said where a disk does not take what a run writes: the folder, the megabytes needed and those free."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covary.errors import TrainingError


def free_bytes(path: Path) -> int:
    """Return the bytes that the disk of a path, or of its nearest parent that exists, has free."""
    return shutil.disk_usage(next(place for place in (path, *path.absolute().parents) if place.exists())).free


def megabytes(count: int) -> str:
    """Return a number of bytes in words."""
    return f"{count / 1e6:,.1f} MB"


@contextmanager
def writing(what: str, folder: Path, *, needed: int) -> Iterator[None]:
    """Turn an error of the disk into a line that helps.

    what: the file, as the line begins. needed: its bytes.
    Raises TrainingError: a system call of the block failed.
    """
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{what} cannot be written to {folder} ({error.strerror or error}): {megabytes(needed)} needed, "
            f"{megabytes(free_bytes(folder))} free. Make room, then run the same command to continue."
        ) from error
