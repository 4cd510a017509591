"""Files are read without waiting, and a full disk is told of in a line that helps."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from covary.errors import TrainingError


def free_bytes(path: Path) -> int:
    """Return the bytes that the disk of a path, or of its nearest parent that exists, has free."""
    return shutil.disk_usage(next(place for place in (path, *path.absolute().parents) if place.exists())).free


def read_file(path: Path) -> bytes:
    """Return the content of a file; a pipe or a device, on which reading could wait for ever, is no file.

    Raises OSError.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "no regular file", str(path))
        return file.read()


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
