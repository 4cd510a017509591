"""What is done to an image: the operations, their ranges, and with which of them features should co-vary.

A recipe is a value; ``sampling.sample`` turns it and a key into numbers, ``views.apply`` turns images and those
numbers into views. ``COLUMNS`` is the layout of the numbers, one row per image; AugMix has more
(``AugMix.widths``):

    crop        4  top / H, left / W, height / H, width / W of the box, H and W those of the image
    flip        1  1 = mirrored left to right
    turn        1  counterclockwise quarter turns, 0 to 3
    angle       1  degrees, counterclockwise; 0 = not rotated
    brightness  1  factor; 1 = unchanged (likewise contrast and saturation)
    hue         1  shift in turns of the colour wheel; 0 = unchanged
    order       1  0 to 23, which of ``JITTER_ORDERS`` the four colour operations follow
    grayscale   1  1 = gray
    blur        1  standard deviation of the Gaussian in pixels of the view; 0 = not blurred
    solarize    1  pixels at or above it are inverted; 1 = not solarized
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, get_args

from covary.augment.augmix import AugMix
from covary.augment.checks import check_number, check_range
from covary.errors import InputError, did_you_mean

Name = Literal["crop", "flip", "quarter_turn", "rotation", "jitter", "grayscale", "blur", "solarize", "augmix"]
NAMES: tuple[Name, ...] = get_args(Name)
TARGETS: Mapping[str, tuple[Name, ...]] = MappingProxyType(
    {"crop": ("crop",), "color": ("jitter",), "crop+color": ("crop", "jitter"), "all": NAMES}
)
PRESETS: Mapping[str, tuple[Name, ...]] = MappingProxyType(
    {"paper": TARGETS["crop+color"], "official_code": ("crop", "jitter", "grayscale")}
)
JITTER = ("brightness", "contrast", "saturation", "hue")
JITTER_ORDERS = tuple(itertools.permutations(JITTER))

WIDTHS = {"crop": 4, "flip": 1, "turn": 1, "angle": 1} | dict.fromkeys(
    (*JITTER, "order", "grayscale", "blur", "solarize"), 1
)


def _lay_out(widths: Mapping[str, int]) -> Mapping[str, slice]:
    """Put columns of these widths side by side."""
    ends = itertools.accumulate(widths.values())
    return MappingProxyType(
        {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
    )


COLUMNS = _lay_out(WIDTHS)


@dataclass(frozen=True, kw_only=True)
class Crop:
    """Random resized crop: a box of random area and aspect ratio, resized to the view (bilinear, antialiased)."""

    scale: tuple[float, float] = (0.2, 1.0)
    """Area of the box as a fraction of the image's, uniform between the two."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width over height of the box, log-uniform between the two."""

    def __post_init__(self) -> None:
        check_range("crop.scale", self.scale, 1)
        check_range("crop.ratio", self.ratio, math.inf)


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Rotation about the centre by any angle (bilinear, black outside the image)."""

    degrees: float = 30.0
    """The angle is uniform between minus and plus this many degrees."""
    p: float = 0.0
    """Probability that an image is rotated."""

    def __post_init__(self) -> None:
        check_number("rotation.degrees", self.degrees, 0, 180)
        check_number("rotation.p", self.p, 0, 1)


@dataclass(frozen=True, kw_only=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue, all four changed in an order drawn per image."""

    brightness: float = 0.4
    """The factor is uniform between max(0, 1 - this) and 1 + this; likewise contrast and saturation."""
    contrast: float = 0.4
    """See brightness."""
    saturation: float = 0.4
    """See brightness."""
    hue: float = 0.1
    """The shift is uniform between minus and plus this fraction of the colour wheel, at most 0.5."""
    p: float = 0.8
    """Probability that an image is jittered."""

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            check_number(f"jitter.{name}", getattr(self, name), 0, math.inf)
        check_number("jitter.hue", self.hue, 0, 0.5)
        check_number("jitter.p", self.p, 0, 1)


@dataclass(frozen=True, kw_only=True)
class GaussianBlur:
    """Gaussian blur with a kernel of fixed width and a random standard deviation (mirrored at the border)."""

    kernel: int = 9
    """Width of the kernel in pixels, odd."""
    sigma: tuple[float, float] = (0.1, 2.0)
    """Standard deviation in pixels, uniform between the two."""
    p: float = 0.5
    """Probability that an image is blurred."""

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"blur.kernel is {self.kernel}; expected an odd number of pixels such as 9.")
        check_range("blur.sigma", self.sigma, math.inf)
        check_number("blur.p", self.p, 0, 1)


@dataclass(frozen=True, kw_only=True)
class Solarize:
    """Inversion of all pixels at or above a threshold."""

    threshold: float = 0.5
    """In [0, 1), where 1 is white."""
    p: float = 0.0
    """Probability that an image is solarized."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise InputError(f"solarize.threshold is {self.threshold}; expected a number in [0, 1).")
        check_number("solarize.p", self.p, 0, 1)


@dataclass(frozen=True, kw_only=True)
class TurnedView:
    """An extra view of each image, smaller, that is given upright and turned by one, two and three quarter turns."""

    size: int
    """Height and width in pixels."""
    scale: tuple[float, float] = (0.2, 1.0)
    """Area of its crop as a fraction of the image's. Other operations are those of the main views, but quarter turns,
    which it has none of, and the kernel of the blur, which goes with the size: below 20 pixels nothing is blurred."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"turned.size is {self.size} pixels; expected 1 or more.")
        check_range("turned.scale", self.scale, 1)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the views of an image are made, in this order; ``p = 0`` switches an operation off."""

    size: int
    """Height and width of a view in pixels."""
    mean: tuple[float, float, float]
    """Mean of red, green and blue in [0, 1], subtracted last."""
    std: tuple[float, float, float]
    """Standard deviation of red, green and blue in [0, 1], divided by last."""
    crop: Crop = field(default_factory=Crop)
    """Random resized crop."""
    flip: float = 0.5
    """Probability that an image is mirrored left to right."""
    quarter_turns: float = 0.0
    """Probability that an image is turned by one, two or three quarter turns (each equally likely)."""
    rotation: Rotation = field(default_factory=Rotation)
    """Rotation by any angle."""
    jitter: ColorJitter = field(default_factory=ColorJitter)
    """Change of brightness, contrast, saturation and hue."""
    grayscale: float = 0.2
    """Probability that an image loses its colour."""
    blur: GaussianBlur = field(default_factory=GaussianBlur)
    """Gaussian blur."""
    solarize: Solarize = field(default_factory=Solarize)
    """Inversion of bright pixels."""
    augmix: AugMix = field(default_factory=AugMix)
    """Mixture with chains of operations, before the change of colours."""
    targets: tuple[Name, ...] = ()
    """Operations that features should co-vary with: partners share their numbers, label-based methods learn them."""
    partners: bool = False
    """Draw the numbers of the targets for pairs of images; all other numbers are drawn for each image."""
    views: int = 2
    """Views made of each image."""
    turned: TurnedView | None = None
    """The extra view of E-SSL, None for none."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"The size of a view is {self.size} pixels; expected 1 or more.")
        if self.views < 1:
            raise InputError(f"The number of views is {self.views}; expected 1 or more.")
        finite = all(map(math.isfinite, (*self.mean, *self.std)))
        if not (len(self.mean) == len(self.std) == 3 and finite and min(self.std) > 0):
            raise InputError(f"mean is {self.mean} and std is {self.std}; expected three numbers each, std above 0.")
        for name in ("flip", "quarter_turns", "grayscale"):
            check_number(name, getattr(self, name), 0, 1)
        if self.blur.p > 0 and self.blur.kernel // 2 >= self.size:
            raise InputError(
                f"blur.kernel is {self.blur.kernel} for views of {self.size} pixels; "
                f"expected at most {2 * self.size - 1}."
            )
        for name in self.targets:
            if name not in NAMES:
                raise InputError(
                    f"targets name '{name}', which is no operation; expected {', '.join(NAMES)}."
                    + did_you_mean(name, NAMES)
                )
            if self.targets.count(name) > 1:
                raise InputError(f"targets name '{name}' twice; name each operation once.")
        if self.partners and not self.targets:
            raise InputError("partners share nothing, as targets are empty; name operations, such as crop jitter.")

    @property
    def aligned(self) -> tuple[Name, ...]:
        """Operations whose numbers partners share: the targets, none where there are no partners."""
        return self.targets if self.partners else ()

    @property
    def targets_on(self) -> tuple[Name, ...]:
        """The targets that are ever done: those whose probability is above 0."""
        p: dict[Name, float] = {
            "crop": 1.0,
            "flip": self.flip,
            "quarter_turn": self.quarter_turns,
            "rotation": self.rotation.p,
            "jitter": self.jitter.p,
            "grayscale": self.grayscale,
            "blur": self.blur.p,
            "solarize": self.solarize.p,
            "augmix": self.augmix.p,
        }
        return tuple(name for name in self.targets if p[name] > 0)

    @property
    def columns(self) -> Mapping[str, slice]:
        """The layout of this recipe's numbers: ``COLUMNS``, then those of AugMix where it is on."""
        return _lay_out({**WIDTHS, **self.augmix.widths})

    def of_turned_view(self) -> "Recipe":
        """Return the recipe of the extra view, one view without partners and quarter turns, which are made of it.

        Raises ``InputError`` where there is none.
        """
        if self.turned is None:
            raise InputError("The recipe declares no turned view; set turned=TurnedView(size=...).")
        return replace(
            self,
            size=self.turned.size,
            crop=replace(self.crop, scale=self.turned.scale),
            blur=replace(self.blur, kernel=_blur_kernel(self.turned.size)),
            quarter_turns=0.0,
            partners=False,
            views=1,
            turned=None,
        )


def preset(name: str, *, size: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Recipe:
    """Return the recipe of STL (arXiv 2501.08712) for views of ``size`` pixels, with partners.

    The targets of ``paper`` are crop and jitter, as the paper says; those of ``official_code`` grayscale too, as the
    authors' code does.
    """
    if name not in PRESETS:
        raise InputError(
            f"'{name}' is no augmentation preset; expected {' or '.join(PRESETS)}." + did_you_mean(name, PRESETS)
        )
    blur = GaussianBlur(kernel=_blur_kernel(size))
    return Recipe(size=size, mean=mean, std=std, blur=blur, targets=PRESETS[name], partners=True)


def turned_view(size: int) -> TurnedView:
    """Return the extra view of E-SSL (arXiv 2111.00899) for views of ``size`` pixels.

    As the authors do: half the size and a fifth to all of the area on small images (CIFAR-10: 16 of 32), 3/7 of the
    size and 0.05 to 0.14 of the area on large ones (ImageNet: 96 of 224). Large begins at 160 pixels (ours).
    """
    return TurnedView(size=size // 2) if size < 160 else TurnedView(size=3 * size // 7, scale=(0.05, 0.14))


def _blur_kernel(size: int) -> int:
    """Return the odd number nearest to a tenth of the size: 3, 9 and 23 pixels for views of 32, 96 and 224.

    Source: SimCLR (arXiv 2002.05709) appendix A.
    """
    return 2 * (size // 20) + 1
