"""Known data sets: torchvision downloads and reads them; sets without official splits are read as folders."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from covary.data import class_splits
from covary.data import folder as folders
from covary.data.lock import locked
from covary.data.source import Content, Record, Source, Split, identify, require
from covary.errors import MissingData

Part = Mapping[str, Any]  # arguments that make torchvision's class give one part of a set


@dataclass(frozen=True, kw_only=True)
class OfficialSplits:
    """A set whose class takes a split: which parts make up train and test.

    cls:      name of torchvision's class.
    folder:   where its files lie below the root.
    train:    the parts that pretraining sees.
    labelled: the parts a labelled training split is made of, where they are others.
    classes:  class names where torchvision's object has no ``classes``.
    scipy:    whether torchvision reads its annotations with SciPy.
    below:    torchvision's own root below ours, for a set without a folder of its own.
    """

    cls: str
    folder: str
    train: tuple[Part, ...]
    test: tuple[Part, ...]
    labelled: tuple[Part, ...] = ()
    classes: tuple[str, ...] = ()
    scipy: bool = False
    below: str = "."


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """A set of class folders that torchvision does not split.

    Its splits are the official lists, where they lie in its folder; else so many images drawn of each class; else 20 %
    of each class are held out, as of any folder.

    cls:      name of torchvision's class; None where it has none and nothing can be downloaded.
    images:   folder of the class folders, below the set's.
    class_of: class of an image, from its path below ``images``.
    without:  folders that are no class.
    below:    torchvision's own root below ours.
    lists:    files of the official lists, below the set's folder.
    drawn:    how many images of each class are drawn where there are no lists.
    """

    cls: str | None
    folder: str
    images: str = "."
    class_of: folders.ClassOf = field(default=folders.first_folder)
    without: tuple[str, ...] = ()
    below: str = "."
    lists: class_splits.Lists | None = None
    drawn: class_splits.Drawn | None = None


def _sun_class(path: PurePosixPath) -> str:
    """Return "apartment_building/outdoor" of "a/apartment_building/outdoor/sun_x.jpg"."""
    return "/".join(path.parts[1:-1])


def _splits(cls: str, folder: str, train: tuple[str, ...], **more: Any) -> OfficialSplits:
    """Return a set whose class takes ``split="..."`` and has a test split of that name."""
    return OfficialSplits(
        cls=cls, folder=folder, train=tuple({"split": part} for part in train), test=({"split": "test"},), **more
    )


def _cifar(cls: str, folder: str) -> OfficialSplits:
    return OfficialSplits(cls=cls, folder=folder, train=({"train": True},), test=({"train": False},))


SETS: Mapping[str, OfficialSplits | ClassFolders] = {
    "aircraft": _splits("FGVCAircraft", "fgvc-aircraft-2013b", ("train", "val")),
    "caltech101": ClassFolders(
        cls="Caltech101",
        folder="caltech101",
        images="101_ObjectCategories",
        without=("BACKGROUND_Google",),
        drawn=class_splits.Drawn(train=30),  # STL, table 10: 25 + 5 per class, the rest to test
    ),
    "cars": _splits("StanfordCars", "stanford_cars", ("train",), scipy=True),
    "cifar10": _cifar("CIFAR10", "cifar-10-batches-py"),
    "cifar100": _cifar("CIFAR100", "cifar-100-python"),
    "dtd": _splits("DTD", "dtd", ("train", "val")),
    "eurosat": ClassFolders(cls="EuroSAT", folder="eurosat", images="2750"),
    "flowers102": _splits("Flowers102", "flowers-102", ("train", "val"), scipy=True),
    "food101": _splits("Food101", "food-101", ("train",)),
    "mit67": ClassFolders(
        cls=None,
        folder="mit67",
        images="Images",
        lists=class_splits.Lists(train="TrainImages.txt", test="TestImages.txt"),
    ),
    "oxford-pets": _splits("OxfordIIITPet", "oxford-iiit-pet", ("trainval",)),
    "stl10": _splits("STL10", "stl10_binary", ("train+unlabeled",), labelled=({"split": "train"},)),
    "sun397": ClassFolders(
        cls="SUN397",
        folder="SUN397",
        class_of=_sun_class,
        lists=class_splits.Lists(train="Training_01.txt", test="Testing_01.txt"),
        drawn=class_splits.Drawn(train=50, test=50),  # as many as the official lists have
    ),
    "svhn": _splits("SVHN", "svhn", ("train",), classes=tuple("0123456789"), scipy=True, below="svhn"),
}


def source(spec: str, *, split: Split, labelled: bool, root: Path) -> Source:
    """Return the source of a known set below ``root``, downloaded where it is not there and a network is."""
    known = SETS[spec]
    if isinstance(known, ClassFolders):
        return _class_folders(spec, known, split=split, root=root)
    if known.scipy:
        require("scipy.io", extra="data", needed_for=f"the data set {spec}")
    parts = known.test if split == "test" else (labelled and known.labelled) or known.train
    folder = root / known.folder
    if not folder.is_dir():
        for part in parts:
            _obtain(spec, known, part, root)
    files = (folder / path for path in sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
    return Source(
        name=spec,
        identity=identify(f"torchvision {spec}", folder, files, parts),
        content=lambda: _content(spec, known, parts, root),
        files=False,
    )


def _class_folders(spec: str, known: ClassFolders, *, split: Split, root: Path) -> Source:
    place = root / known.folder
    images = place / known.images
    if not images.is_dir():
        _obtain(spec, known, {}, root)
    return folders.source(
        spec,
        images,
        split=split,
        class_of=known.class_of,
        without=known.without,
        held_out="always",
        choose=class_splits.chooser(place, split, lists=known.lists, drawn=known.drawn, class_of=known.class_of),
    )


def _content(spec: str, known: OfficialSplits, parts: tuple[Part, ...], root: Path) -> Content:
    opened = [_obtain(spec, known, part, root) for part in parts]
    return Content(
        count=sum(len(part) for part in opened),
        classes=known.classes or tuple(str(name) for name in opened[0].classes),
        records=chain.from_iterable(
            _records(" ".join(str(value) for value in part.values()), data)
            for part, data in zip(parts, opened, strict=True)
        ),
    )


def _records(part: str, data: Any) -> Iterator[Record]:
    for row in range(len(data)):
        yield Record(f"{part}/{row}", lambda row=row: data[row])


def _obtain(spec: str, known: OfficialSplits | ClassFolders, part: Part, root: Path) -> Any:
    """Open one part of a set with torchvision's class; download it where it is not there."""
    if known.cls is None:
        raise MissingData(
            f"{spec} is not in {root / known.folder} and cannot be downloaded (torchvision does not know it); "
            "put its files there (docs/data.md says which), or name another --root."
        )
    make = getattr(importlib.import_module("torchvision.datasets"), known.cls)  # seconds to import: only when needed
    place = root / known.below
    try:
        return make(place, **part)
    except (RuntimeError, OSError):  # torchvision's words for a set that is absent or incomplete
        pass
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{spec}.lock"):
            return make(place, download=True, **part)
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise MissingData(
            f"{spec} is not in {root / known.folder} and cannot be downloaded ({type(error).__name__}: {reason}); "
            "put torchvision's files there, or name another --root."
        ) from error
