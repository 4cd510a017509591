"""Training and test images with their boxes: what is drawn is keyed, what is done is torchvision's (v2, box-aware)."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from covary.data.decode import to_rgb
from covary.errors import InputError
from covary.evaluation.detection.options import Schedule
from covary.evaluation.detection.voc import Boxed
from covary.keyed import uniform

FLIP = 0.5  # probability, arXiv 1504.08083 section 2.3


@dataclass(frozen=True, kw_only=True)
class Example:
    """An image as the detector takes it, and its target.

    pixels: float32 (3, h, w) in [0, 1]. boxes: float32 (m, 4), in its pixels. labels: int64 (m,).
    scale: (x, y), its size as a share of the file's.
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor
    scale: tuple[float, float]


def random_example(boxed: Boxed, schedule: Schedule, *, seed: int, position: int) -> Example:
    """Return an image in a random one of ``schedule.sizes``, flipped in half of the cases.

    Size and flip are functions of (seed, position), the image's place in the order of the training.
    """
    drawn = uniform(seed=seed, stream="detection", epoch=0, position=torch.tensor([position]), view=0, slots=2)[0]
    size = schedule.sizes[int(drawn[0].double() * len(schedule.sizes))]
    return _prepare(boxed, size=size, max_size=schedule.max_size, flip=bool(drawn[1] < FLIP))


def fixed_example(boxed: Boxed, schedule: Schedule) -> Example:
    """Return a test image in ``schedule.test_size``."""
    return _prepare(boxed, size=schedule.test_size, max_size=schedule.max_size, flip=False)


def _prepare(boxed: Boxed, *, size: int, max_size: int, flip: bool) -> Example:
    """Bring the shorter side to ``size`` but the longer one to ``max_size`` at most, bilinear with antialias; flip."""
    image = _read(boxed)
    old_height, old_width = image.shape[-2:]
    scale = min(size / min(old_height, old_width), max_size / max(old_height, old_width))
    height, width = round(old_height * scale), round(old_width * scale)
    boxes = tv_tensors.BoundingBoxes(  # pyright: ignore[reportCallIssue]
        boxed.boxes, format=tv_tensors.BoundingBoxFormat.XYXY, canvas_size=(old_height, old_width)
    )
    image, boxes = (functional.resize(value, [height, width], antialias=True) for value in (image, boxes))
    if flip:
        image, boxes = functional.horizontal_flip(image), functional.horizontal_flip(boxes)
    return Example(
        pixels=functional.to_dtype(image, torch.float32, scale=True),
        boxes=boxes.as_subclass(Tensor),
        labels=boxed.labels,
        scale=(width / old_width, height / old_height),
    )


def _read(boxed: Boxed) -> Tensor:
    try:
        with Image.open(boxed.image) as image:
            return functional.pil_to_tensor(to_rgb(image))
    except (OSError, ValueError) as error:
        raise InputError(f"The image {boxed.image} cannot be read ({error}); restore it.") from error
