"""Sensitivity: how far features move when one parameter of a transformation does; asks for no predictor and no labels.

Not in the paper. With unit features y, the distance of two images is 1 - cosine, in units of the mean distance between
different images: 0 does not move, 1 is as far as another image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from covary.augment import COLUMNS, Recipe
from covary.errors import InputError
from covary.evaluation.transformations import Ranges

STEPS = (-1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0)  # shares of a parameter's reach


@dataclass(frozen=True, kw_only=True)
class SensitivityOptions:
    """What a sensitivity result depends on beside encoder and images."""

    images: int = 500
    """Test images measured on; 0 takes all."""
    zoom: float = 0.5
    """Reach of zoom: the box is (1 - zoom) of the image high and wide; shifts move such a box by up to half of what is
    left."""
    rotation: float = 30.0
    """Reach of rotation in degrees."""
    blur: float = 2.0
    """Reach of blur: standard deviation in pixels."""
    color: float = 0.4
    """Reach of brightness, contrast and saturation: factors from 1 - this to 1 + this."""
    hue: float = 0.1
    """Reach of hue in turns of the colour wheel."""
    ranges: Ranges = "auto"
    """Ranges of crop and jitter that invariance is measured under: paper, or auto, those of the run where there is
    one."""

    def __post_init__(self) -> None:
        """Raise InputError for values that move nothing, or too much."""
        if self.images < 0 or self.images == 1:
            raise InputError(f"sensitivity images is {self.images}; expected 2 or more, or 0 for all.")
        if self.ranges not in get_args(Ranges):
            raise InputError(f"sensitivity ranges is '{self.ranges}'; expected {' or '.join(get_args(Ranges))}.")
        for name, most in (("zoom", 0.95), ("rotation", 180), ("blur", 100), ("color", 1), ("hue", 0.5)):
            if not 0 < getattr(self, name) <= most:
                raise InputError(f"sensitivity {name} is {getattr(self, name):g}; expected above 0, at most {most:g}.")

    @property
    def orbits(self) -> Mapping[str, tuple[float, ...]]:
        """The steps of each parameter, as shares of its reach; zoom and blur have one direction."""
        upward = tuple(step for step in STEPS if step > 0)
        both = ("shift_x", "shift_y", "rotation", "brightness", "contrast", "saturation", "hue")
        return MappingProxyType({"zoom": upward, **dict.fromkeys(both, STEPS), "blur": upward})


def orbit(name: str, steps: tuple[float, ...], before: Tensor, options: SensitivityOptions) -> tuple[Tensor, Tensor]:
    """Return the numbers of views along one parameter, float32 (steps, n, P), and those where it is 0, (n, P).

    before: float32 (n, P), numbers of images as they are. Shifts start from the central box of zoom's reach.
    """
    start, side = before.clone(), 1 - options.zoom
    if name.startswith("shift"):
        start[:, COLUMNS["crop"]] = torch.tensor([options.zoom / 2, options.zoom / 2, side, side])
    views = start.repeat(len(steps), 1, 1)
    for view, step in zip(views, steps, strict=True):
        if name == "zoom":
            cut = step * options.zoom
            view[:, COLUMNS["crop"]] = torch.tensor([cut / 2, cut / 2, 1 - cut, 1 - cut])
        elif name.startswith("shift"):
            column = COLUMNS["crop"].start + (name == "shift_x")
            view[:, column] += step * options.zoom / 2
        elif name == "rotation":
            view[:, COLUMNS["angle"]] = step * options.rotation
        elif name in ("blur", "hue"):
            view[:, COLUMNS[name]] = step * getattr(options, name)
        else:
            view[:, COLUMNS[name]] = 1 + step * options.color
    return views, start


def for_orbits(recipe: Recipe, options: SensitivityOptions) -> Recipe:
    """Return the recipe that views along the orbits are made by: its blur reaches as far as they do."""
    kernel = min(2 * int(3 * options.blur + 0.5) + 1, 2 * recipe.size - 1)
    return replace(recipe, blur=replace(recipe.blur, kernel=kernel))


def moved(start: Tensor, views: Tensor, unit: float) -> Tensor:
    """Return the mean distance of each view from the start over images, float64 (v,), in units of ``unit``."""
    y, u = F.normalize(start.double(), dim=1), F.normalize(views.double(), dim=2)
    return (1 - (u * y).sum(dim=2)).mean(dim=1) / unit


def between_images(features: Tensor) -> float:
    """Return the mean of 1 - cosine over all pairs of different images; features: (n, D), 0 where all are equal."""
    if torch.equal(features, features[:1].expand_as(features)):
        return 0.0
    y = F.normalize(features.double(), dim=1)
    n = len(y)
    return 1 - ((y.sum(dim=0).square().sum() - y.square().sum()) / (n * (n - 1))).item()


def slope(distances: Tensor, steps: tuple[float, ...]) -> float:
    """Return the distance per reach of the parameter: least squares through the origin in |step|."""
    x = torch.tensor(steps, dtype=torch.float64, device=distances.device).abs()
    return ((distances * x).sum() / x.square().sum()).item()
