"""A folder of images: labelled by sub-folder or not at all, nested, with or without ``train/`` and ``test/``."""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from covary.data.decode import SUFFIXES
from covary.data.labels import NO_LABEL
from covary.data.source import Content, HeldOut, Record, Source, Split, identify
from covary.errors import InputError

TRAIN = "train"
TESTS = ("test", "val", "validation")  # the first that exists is the test split

ClassOf = Callable[[PurePosixPath], str]  # path of an image inside its split's folder -> class, "" for none


def first_folder(path: PurePosixPath) -> str:
    """Return the first folder on an image's path: the class, by default."""
    return path.parts[0] if len(path.parts) > 1 else ""


@dataclass(frozen=True)
class Listing:
    """Images below a folder (sorted, relative, "/" between parts), and the number of other files."""

    images: tuple[str, ...]
    others: int


def source(
    spec: str,
    root: Path,
    *,
    split: Split,
    class_of: ClassOf = first_folder,
    classes: Collection[str] = (),
    without: Collection[str] = (),
    held_out: HeldOut = "labelled",
    choose: Callable[[Sequence[str]], list[str]] | None = None,
) -> Source:
    """Return the source of a folder; ``docs/data.md`` has the rules.

    class_of: the class of an image, from its path.
    classes:  where not empty, the only classes to take; InputError where one of them is missing.
    without:  classes to leave out.
    held_out: what to do where the folder has no test split of its own.
    choose:   the images of the asked split, out of all; then nothing else is held out.
    """
    folders = split_folders(root)
    listings = {folder: list_images(folder) for folder in dict.fromkeys(folders.values())}
    found = {class_of(PurePosixPath(path)) for listing in listings.values() for path in listing.images} - {""}
    if missing := sorted(set(classes) - found):
        raise InputError(f"{root} lacks {len(missing)} of {len(classes)} classes of '{spec}', such as {missing[0]}.")
    names = tuple(sorted(classes or found - set(without)))
    left_out = found - set(names)
    names = names if len(names) > 1 else ()
    index = {name: label for label, name in enumerate(names)}
    folder = folders[split]
    listing = listings[folder]
    images = [path for path in listing.images if class_of(PurePosixPath(path)) not in left_out]
    images = choose(images) if choose else images
    if not images:
        raise InputError(
            f"the folder {folder} holds no image ({listing.others} other files); "
            f"expected files that end in {', '.join(sorted(SUFFIXES))}."
        )

    def records() -> Iterator[Record]:
        for path in images:
            label = index.get(class_of(PurePosixPath(path)), NO_LABEL)
            yield Record(path, lambda path=path, label=label: (folder / path, label))

    return Source(
        name=spec,
        identity=identify("folder", folder, (folder / path for path in images), names, listing.others),
        content=lambda: Content(count=len(images), classes=names or None, records=records(), ignored=listing.others),
        files=True,
        held_out=held_out if len(listings) == 1 and not choose else "never",
    )


def split_folders(root: Path) -> dict[Split, Path]:
    """Return the folder of each split: ``train/`` beside one of ``TESTS``; otherwise the root is both."""
    tests = [root / name for name in TESTS if (root / name).is_dir()]
    if tests and (root / TRAIN).is_dir():
        return {"train": root / TRAIN, "test": tests[0]}
    return {"train": root, "test": root}


def list_images(root: Path) -> Listing:
    """List the image files below a folder.

    Hidden files and folders are passed over. Links are followed; a folder that can be reached in several ways is
    listed once, by its real path where that lies below the root, else by the first link in sorted order.
    """
    images: list[str] = []
    others = 0
    links = [""]
    seen: set[tuple[int, int]] = set()
    while links:
        pending = [links.pop(0)]
        while pending:
            relative = pending.pop()
            if not _first_visit(root / relative, seen):
                continue
            for entry in _entries(root / relative):
                path = f"{relative}/{entry.name}" if relative else entry.name
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_dir():
                    links.append(path)
                elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                    images.append(path)
                else:
                    others += 1
        links.sort()
    return Listing(tuple(sorted(images)), others)


def _first_visit(folder: Path, seen: set[tuple[int, int]]) -> bool:
    stat = folder.stat()
    identity = (stat.st_dev, stat.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(
            f"the folder {folder} cannot be listed ({error.strerror}); make it readable or move it."
        ) from error
