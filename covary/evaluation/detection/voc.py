"""Images with boxes, in the layout of PASCAL VOC.

::

    JPEGImages/NAME.jpg       images
    Annotations/NAME.xml      their objects: class, box, difficult
    ImageSets/Main/SPLIT.txt  a NAME a line; trainval for training, test for testing
    classes.txt               a class a line; the twenty of PASCAL VOC where it is missing
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import torch
from PIL import Image
from torch import Tensor

from covary.data.decode import FORMATS
from covary.data.lock import locked
from covary.data.source import identify
from covary.errors import InputError, MissingData, did_you_mean

VOC0712 = "voc07+12"
VOC_CLASSES = (  # Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, kw_only=True)
class Boxed:
    """An image file and its objects.

    boxes:     float32 (m, 4), x1, y1, x2, y2 in pixels of the image; (0, 0, width, height) is all of it.
    labels:    int64 (m,), from 1 on; 0 is the background.
    difficult: bool (m,), objects that a test does not ask for.
    """

    image: Path
    boxes: Tensor
    labels: Tensor
    difficult: Tensor


@dataclass(frozen=True, kw_only=True)
class BoxedSet:
    """The images of a SPEC: class names, training images (VOC's trainval), test images, and a digest of the files."""

    classes: tuple[str, ...]
    train: tuple[Boxed, ...]
    test: tuple[Boxed, ...]
    identity: str


def has_boxes(spec: str) -> bool:
    """Return whether a SPEC means images with boxes: ``voc07+12``, or a folder with ImageSets/Main."""
    return spec == VOC0712 or (Path(spec).expanduser() / "ImageSets" / "Main").is_dir()


def load(spec: str, *, root: Path) -> BoxedSet:
    """Return the images of a SPEC: a folder in VOC's layout, or ``voc07+12`` below ``root``.

    ``voc07+12``: trained on trainval of 2007 and 2012, tested on test of 2007, in ``root/VOCdevkit/VOC2007`` and
    ``VOC2012``; downloaded where they are not there and a network is.

    VOC counts pixels from 1, the last one included: a box (xmin, ymin, xmax, ymax) becomes
    (xmin - 1, ymin - 1, xmax, ymax), cut at the edges of the image.

    Raises InputError: no such folder, a missing or broken file, an unknown class, a box that is empty or not finite,
    no class or one named twice, an image both to train on and to test on, training images without an object, test
    images without one that is not difficult; it names the file.
    MissingData: ``voc07+12`` is not there and cannot be downloaded.
    """
    if spec == VOC0712:
        years = {year: root / "VOCdevkit" / f"VOC{year}" for year in ("2007", "2012")}
        _obtain(years["2007"], "2007", ("trainval", "test"), root)
        _obtain(years["2012"], "2012", ("trainval",), root)
        return _collect([(folder, "trainval") for folder in years.values()], (years["2007"], "test"), VOC_CLASSES)
    folder = Path(spec).expanduser()
    if not has_boxes(spec):
        raise InputError(
            f"the data '{spec}' is not in PASCAL VOC's layout ({folder / 'ImageSets' / 'Main'} is missing); expected "
            f"a folder with JPEGImages, Annotations and ImageSets/Main, or {VOC0712}.{did_you_mean(spec, [VOC0712])}"
        )
    named = folder / "classes.txt"
    classes = _read_classes(named) if named.exists() else VOC_CLASSES
    return _collect([(folder, "trainval")], (folder, "test"), classes)


def _collect(train: Sequence[tuple[Path, str]], test: tuple[Path, str], classes: tuple[str, ...]) -> BoxedSet:
    trained = tuple(boxed for folder, split in train for boxed in _read_split(folder, split, classes))
    tested = tuple(_read_split(*test, classes))
    for shared in sorted({boxed.image for boxed in trained} & {boxed.image for boxed in tested}):
        raise InputError(
            f"The image {shared} is both to train on and to test on; strike it off one of the lists in "
            f"{_list_file(*test).parent}."
        )
    if all(bool(boxed.difficult.all()) for boxed in tested):
        raise InputError(
            f"{_list_file(*test)} names no image with an object that is not difficult, and difficult ones are not "
            "asked for in the test; list one or more."
        )
    home = test[0]
    images = [boxed.image for boxed in (*trained, *tested)]
    files = [*images, *(image.parents[1] / "Annotations" / f"{image.stem}.xml" for image in images)]
    return BoxedSet(
        classes=classes, train=trained, test=tested, identity=identify("voc", home, files, classes, len(trained))
    )


def _read_split(folder: Path, split: str, classes: tuple[str, ...]) -> list[Boxed]:
    listed = _list_file(folder, split)
    images = [_read_image(folder, line.split()[0], classes) for line in _read_lines(listed)]
    if not any(len(image.labels) for image in images):
        raise InputError(f"{listed} names no image with an object; a detector needs one or more.")
    return images


def _list_file(folder: Path, split: str) -> Path:
    return folder / "ImageSets" / "Main" / f"{split}.txt"


def _read_classes(file: Path) -> tuple[str, ...]:
    classes = tuple(_read_lines(file))
    if not classes:
        raise InputError(f"{file} names no class; write a class a line, or remove it for those of PASCAL VOC.")
    for name in classes:
        if classes.count(name) > 1:
            raise InputError(f"{file} names the class '{name}' twice; keep one of the lines.")
    return classes


def _read_lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); it belongs to PASCAL VOC's layout.") from error


def _read_image(folder: Path, name: str, classes: tuple[str, ...]) -> Boxed:
    candidates = [folder / "JPEGImages" / f"{name}{suffix}" for suffix in SUFFIXES]
    path = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(
            f"The image {path} cannot be read ({error}); restore it or strike it off the lists."
        ) from error
    annotation = folder / "Annotations" / f"{name}.xml"
    try:
        objects = ElementTree.parse(annotation).getroot().findall("object")
        numbers = [[float(_text(one, f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")] for one in objects]
        names = [_text(one, "name").strip() for one in objects]
        difficult = [one.findtext("difficult", "0").strip() == "1" for one in objects]
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"The annotation {annotation} is broken ({error}); restore it.") from error
    for unknown in (name for name in names if name not in classes):
        raise InputError(
            f"{annotation} has an object of the class '{unknown}'; expected {', '.join(classes)}."
            f"{did_you_mean(unknown, classes)}"
        )
    written = torch.tensor(numbers, dtype=torch.float32).view(-1, 4)
    boxes = written - torch.tensor([1.0, 1.0, 0.0, 0.0])
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    sound = written.isfinite().all(dim=1) & (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
    if not sound.all():
        raise InputError(
            f"Box {int((~sound).nonzero()[0]) + 1} of {annotation} is empty within the image of {width} x {height} "
            "pixels or not finite; expected numbers with xmin < xmax and ymin < ymax. Mend or remove it."
        )
    labels = torch.tensor([classes.index(name) + 1 for name in names], dtype=torch.int64)
    return Boxed(image=path, boxes=boxes, labels=labels, difficult=torch.tensor(difficult, dtype=torch.bool))


def _text(place: ElementTree.Element, path: str) -> str:
    found = place.findtext(path)
    if found is None:
        raise ValueError(f"an object has no {path}")
    return found


def _obtain(folder: Path, year: str, splits: tuple[str, ...], root: Path) -> None:
    """Download a year of PASCAL VOC with torchvision where one of its splits is not there."""
    missing = [split for split in splits if not (folder / "ImageSets" / "Main" / f"{split}.txt").is_file()]
    try:
        if missing:
            root.mkdir(parents=True, exist_ok=True)
            with locked(root / f".{VOC0712}.lock"):
                datasets = importlib.import_module("torchvision.datasets")  # seconds to import: only when needed
                for split in missing:
                    datasets.VOCDetection(root, year=year, image_set=split, download=True)
    except (RuntimeError, OSError, ValueError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise MissingData(
            f"{VOC0712} is not in {folder} ({', '.join(missing)}) and cannot be downloaded "
            f"({type(error).__name__}: {reason}); put PASCAL VOC's files there, or name another --root."
        ) from error
