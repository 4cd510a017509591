"""What every kind of data source hands to the store: a stream of records, and a digest of what they are read from."""

import hashlib
import importlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from covary.errors import InputError

Split = Literal["train", "test"]
HeldOut = Literal["never", "labelled", "always"]
Pixels = np.ndarray | Image.Image | bytes | Path  # uint8 (h, w, 3), an opened image, a file's bytes, a file

HELD_OUT = 0.2  # the share of each class kept for testing where a source has no test split of its own


@dataclass(frozen=True, slots=True)
class Record:
    """One image: its name, and a function (called in a thread) that reads its pixels and its label (−1: none)."""

    name: str
    read: Callable[[], tuple[Pixels, int]]


@dataclass(frozen=True, kw_only=True)
class Content:
    """All records of a source, in a fixed order.

    count:   number of records.
    classes: class names, indexed by label; None where the source has no labels.
    ignored: files met that are not images.
    """

    count: int
    classes: tuple[str, ...] | None
    records: Iterable[Record]
    ignored: int = 0


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data source before any image of it is decoded.

    name:     what the user called it.
    identity: digest of what the images are read from; when it changes, the store is built anew.
    content:  opens the source; called only when the store has to be built.
    files:    whether every record is an image file or the bytes of one, which an encoded store can keep.
    held_out: "never": the records are those of the asked split. "labelled": the records are all there are; the test
              split is 20 % of each class, pretraining sees all images, the labelled training split the other 80 %.
              "always": the same, but pretraining too sees only the 80 %.
    """

    name: str
    identity: str
    content: Callable[[], Content]
    files: bool
    held_out: HeldOut = "never"


def held_out(names: Sequence[str], labels: np.ndarray | None) -> np.ndarray:
    """Return which images are held out for testing: bool (n,).

    Of each class (unlabelled images are one class of their own) the 20 % with the smallest BLAKE2b digest of their
    name are held out, rounded, at least one where the class has two images. A function of names and labels alone.
    """
    digests = [name_digest(name) for name in names]
    labels = np.full(len(names), -1) if labels is None else labels
    chosen = np.zeros(len(names), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label).tolist()
        rows.sort(key=lambda row: (digests[row], names[row]))
        count = round(HELD_OUT * len(rows)) if len(rows) > 4 else int(len(rows) > 1)
        chosen[rows[:count]] = True
    return chosen


def name_digest(name: str) -> bytes:
    """Return 16 bytes of BLAKE2b of an image's name: an order that is random, and the same everywhere."""
    return hashlib.blake2b(os.fsencode(name), digest_size=16).digest()


def identify(kind: str, root: Path, files: Iterable[Path], *facts: object) -> str:
    """Return a digest of a listing: the root, and every file's relative path, size, mtime and ctime.

    A file that cannot be examined is part of the digest by its name; reading it will say what is wrong with it.
    """
    digest = hashlib.blake2b(
        repr((kind, os.fspath(root.resolve()), *facts)).encode(errors="surrogateescape"), digest_size=16
    )
    for file in files:
        digest.update(os.fsencode(os.path.relpath(file, root)) + b"\0")
        try:
            stat = file.stat()
        except OSError:
            continue
        digest.update(f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}\0".encode())
    return digest.hexdigest()


def require(module: str, *, extra: str, needed_for: str) -> Any:
    """Import an optional dependency, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise InputError(
            f"{needed_for} needs the package {package}, which is not installed; install covary[{extra}]."
        ) from error
