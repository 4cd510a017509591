"""Train and test images of a set of class folders: those on its official lists, or so many drawn of each class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from covary.data.folder import ClassOf
from covary.data.source import Split, name_digest
from covary.errors import InputError, MissingData

Choose = Callable[[Sequence[str]], list[str]]  # all images' paths -> those of a split, in the same order


@dataclass(frozen=True, kw_only=True)
class Lists:
    """Files that name the images of each split: one path below the class folders a line, a leading "/" passed over."""

    train: str
    test: str


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How many images of each class are drawn for training, and then for testing (None: all others)."""

    train: int
    test: int | None = None


def chooser(
    folder: Path, split: Split, *, lists: Lists | None, drawn: Drawn | None, class_of: ClassOf
) -> Choose | None:
    """Return what picks a split's images: the lists where they are in the folder, else the draw; None without either.

    Raises InputError: one list is there without the other, or neither where nothing can be drawn instead.
    """
    names = () if lists is None else (lists.train, lists.test)
    absent = [name for name in names if not (folder / name).is_file()]
    if lists and not absent:
        return partial(_listed, file=folder / (lists.train if split == "train" else lists.test))
    if len(absent) == 1 or (absent and drawn is None):
        raise MissingData(f"{folder} lacks {' and '.join(absent)}; put the official lists of images there.")
    return None if drawn is None else partial(_draw, split=split, drawn=drawn, class_of=class_of)


def _listed(paths: Sequence[str], *, file: Path) -> list[str]:
    try:
        wanted = {line.strip().lstrip("/") for line in file.read_text(encoding="utf-8").splitlines()} - {""}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the list {file} cannot be read ({error}); expected one image path a line.") from error
    if lost := sorted(wanted.difference(paths)):
        raise InputError(
            f"{len(lost)} of the {len(wanted)} images that {file} names are not there, such as {lost[0]}; "
            "unpack the set again, or mend the list."
        )
    return [path for path in paths if path in wanted]


def _draw(paths: Sequence[str], *, split: Split, drawn: Drawn, class_of: ClassOf) -> list[str]:
    """Return a split's images: of each class, in the order of their paths' digests, the first train, the next test."""
    classes: dict[str, list[str]] = {}
    for path in sorted(paths, key=lambda path: (name_digest(path), path)):
        classes.setdefault(class_of(PurePosixPath(path)), []).append(path)
    stop = None if drawn.test is None else drawn.train + drawn.test
    part = slice(drawn.train) if split == "train" else slice(drawn.train, stop)
    chosen = {path for members in classes.values() for path in members[part]}
    return [path for path in paths if path in chosen]
