"""Orbits: views of an image along one parameter, the path of its features, and the path that a run predicts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from covary.augment import Recipe
from covary.errors import InputError
from covary.evaluation import sensitivity
from covary.evaluation.clusters import pca
from covary.evaluation.equivariance import analogies, partner_of
from covary.evaluation.movers import own_mover
from covary.evaluation.sensitivity import SensitivityOptions
from covary.evaluation.subject import Subject
from covary.evaluation.transformations import Transformed, ranges_of, unchanged
from covary.explore.page import packed
from covary.methods import LabelMover, Mover
from covary.methods.mover import same

BOTH_WAYS = tuple(number / 8 for number in range(-8, 9))  # shares of a parameter's reach
ONE_WAY = tuple(number / 8 for number in range(9))
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "zoom": "Zoom",
        "shift_x": "Shift, across",
        "shift_y": "Shift, down",
        "rotation": "Rotation",
        "brightness": "Brightness",
        "contrast": "Contrast",
        "saturation": "Saturation",
        "hue": "Hue",
        "blur": "Blur",
    }
)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One parameter over its reach.

    steps:  shares of the reach. values: what each is, in words.
    start:  float32 (n, P), how the views where it is 0 are made. views: float32 (v, n, P), those of the steps.
    """

    name: str
    steps: tuple[float, ...]
    values: tuple[str, ...]
    start: Tensor
    views: Tensor

    def to_json(self) -> Mapping[str, Any]:
        """Return what the page needs of it."""
        return {
            "name": self.name,
            "title": TITLES[self.name],
            "values": self.values,
            "zero": self.steps.index(0),
        }


def sweeps(recipe: Recipe, images: int, options: SensitivityOptions) -> Sequence[Sweep]:
    """Return the sweeps of the parameters that sensitivity measures, over its reaches, of images as they are."""
    before, found = unchanged(recipe, images), []
    for name, coarse in options.orbits.items():
        steps = ONE_WAY if min(coarse) > 0 else BOTH_WAYS
        views, start = sensitivity.orbit(name, steps, before, options)
        values = tuple(_value(name, step, options) for step in steps)
        found.append(Sweep(name=name, steps=steps, values=values, start=start, views=views))
    return found


def orbits(
    subject: Subject, images: Tensor, recipe: Recipe, sweeps: Sequence[Sweep], features: Tensor
) -> Mapping[str, Any]:
    """Return, for each sweep, paths and distances of each image, for the page.

    path:      (n, v, 2), features of length 1 in the plane of the two directions in which they vary most on this orbit.
    predicted: the same of the moved features, what was done being read off the image's partner; None without a map
               that the run has learned, or where the parameter is none that it is told of.
    away:      (n, v), 1 - cosine of each view and the start, in units of its mean over different images.
    left:      the same of each view and its prediction; None as predicted.
    share:     (n,), of the orbit's variance that the plane holds.

    images: int64 (n,), rows of the test images. features: float32 (m, D), of images as they are, for the unit.
    Raises InputError: all of these are the same.
    """
    mover = own_mover(subject.source, "auto", subject.device)
    where: Callable[[Tensor], Tensor] = same if mover is None else mover.start
    unit = sensitivity.between_images(where(features.to(subject.device)))
    if unit < 1e-9:
        raise InputError(f"The encoder gives all images of {subject.data} the same features; there is nothing to show.")
    seen = ranges_of(recipe, subject.extractor, "auto")
    found = {}
    for sweep in sweeps:
        params = torch.cat([sweep.start[None], sweep.views])
        views = subject.extractor.views(subject.test, images, params, seen).to(subject.device)
        given = Transformed(start=views[0], views=views[1:], before=sweep.start, params=sweep.views)
        rows = torch.stack([where(view) for view in views])
        found[sweep.name] = _one(rows[0], rows[1:], _predicted(mover, given), unit)
    return found


def _predicted(mover: Mover | None, given: Transformed) -> Tensor | None:
    """Return the start of each image moved as its partner was, (v, n, d)."""
    if mover is None:
        return None
    if isinstance(mover, LabelMover) and not mover.labels.relative(given.before, given.params).any():
        return None
    partner = partner_of(len(given.start))
    return torch.stack(analogies(mover, given, partner, space="features", distance="cosine").moved)


def _one(start: Tensor, views: Tensor, predicted: Tensor | None, unit: float) -> Mapping[str, Any]:
    paths, moved, away, left, shares = [], [], [], [], []
    for image in range(len(start)):
        own = slice(image, image + 1)
        path = normalize(views[:, image].double(), dim=1)
        plane = pca(path)
        paths.append(plane.of(path))
        shares.append(plane.share)
        away.append(sensitivity.moved(start[own], views[:, own], unit).clamp(min=0))  # of itself it may be -1e-17
        if predicted is not None:
            moved.append(plane.of(normalize(predicted[:, image].double(), dim=1)))
            pairs = zip(views[:, own], predicted[:, None, own], strict=True)
            left.append(torch.cat([sensitivity.moved(view, guess, unit) for view, guess in pairs]))
    return {
        "path": _numbers(paths),
        "predicted": None if predicted is None else _numbers(moved),
        "away": _numbers(away),
        "left": None if predicted is None else _numbers(left),
        "share": packed(np.array(shares, dtype=np.float32)),
    }


def _numbers(rows: Sequence[Tensor]) -> str:
    return packed(torch.stack(list(rows)).float().cpu())


def _value(name: str, step: float, options: SensitivityOptions) -> str:
    """Return in words what a share of a parameter's reach is."""
    if name == "zoom":
        return f"{1 - step * options.zoom:.0%} of the side"
    if name.startswith("shift"):
        return f"{step * options.zoom / 2:+.0%} of the side"
    if name == "rotation":
        return f"{step * options.rotation:+.0f} degrees"
    if name == "hue":
        return f"{step * options.hue:+.3f} turns"
    if name == "blur":
        return f"{step * options.blur:.2f} px"
    return f"times {1 + step * options.color:.2f}"
