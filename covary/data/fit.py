"""The geometry of a store: what happens to an image's size before its pixels are stored."""

import math
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from covary.data.decode import decode
from covary.errors import InputError

TRAIN_MARGIN = 1.5  # the shorter side kept for training, in units of the view's size
LONGEST = 2.0  # the longer side kept for training, in units of the shorter one
SPARE = 2  # a JPEG is decoded at a reduced size only if that is at least so many times the one it is stored in
REDUCTIONS = (8, 4, 2)  # that JPEG's blocks of 8 x 8 can be decoded at


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How an image of any size is brought to the size in which it is stored.

    kind "train": the longer side is centre-cropped to at most twice the shorter, then both sides are scaled down
                  (bicubic, antialiased) so that the shorter is at most ``ceil(1.5 * size)``. Never enlarged.
    kind "evaluate": the shorter side is resized to ``size`` (bicubic, antialiased), then the centre (size, size) is
                  cut out: torchvision's Resize and CenterCrop, bit for bit.
    """

    kind: Literal["train", "evaluate"]
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"image size {self.size} is not positive; give the side of a view in pixels, such as 32.")

    @classmethod
    def train(cls, size: int) -> "Fit":
        """Geometry of images that training will crop views of ``size`` pixels from."""
        return cls(kind="train", size=size)

    @classmethod
    def evaluate(cls, size: int) -> "Fit":
        """Geometry of images that an encoder sees whole, at (size, size)."""
        return cls(kind="evaluate", size=size)

    def keeps(self, width: int, height: int) -> bool:
        """Whether an image of this width and height is stored pixel for pixel."""
        if self.kind == "evaluate":
            return width == height == self.size
        short, long = sorted((width, height))
        return long <= LONGEST * short and short <= math.ceil(TRAIN_MARGIN * self.size)

    def reduction(self, width: int, height: int) -> int:
        """Return by how much a JPEG of this width and height may be reduced while it is decoded: 1, 2, 4 or 8.

        kind "train": the most that leaves the shorter side at least twice what it will be stored in. "evaluate": 1.
        """
        least = SPARE * math.ceil(TRAIN_MARGIN * self.size)
        whole = self.kind == "evaluate"
        return next((by for by in REDUCTIONS if not whole and min(width, height) >= by * least), 1)

    def decode(self, data: bytes) -> Image.Image:
        """Return the image of a file's bytes as RGB, in the size in which it is stored; raises what ``decode`` does."""
        return self.apply(decode(data, reduction=self.reduction))

    def apply(self, image: Image.Image) -> Image.Image:
        """Return the image in the size in which it is stored."""
        if self.keeps(*image.size):
            return image
        return _evaluate(image, self.size) if self.kind == "evaluate" else _train(image, self.size)


def _train(image: Image.Image, size: int) -> Image.Image:
    short = min(image.size)
    cut = tuple(min(side, int(LONGEST * short)) for side in image.size)
    image = _centre(image, *cut)
    limit = math.ceil(TRAIN_MARGIN * size)
    if short <= limit:
        return image
    width, height = (round(side * limit / short) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _evaluate(image: Image.Image, size: int) -> Image.Image:
    short = min(image.size)
    width, height = (int(size * side / short) for side in image.size)
    return _centre(image.resize((width, height), Image.Resampling.BICUBIC), size, size)


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
