"""How features move: by what a method has learned, or by a ridge map where there is no method or it learned none."""

from typing import Literal

import torch
from torch import Tensor

from covary.augment import Labels, Recipe
from covary.errors import InputError
from covary.evaluation.ridge import fit_ridge
from covary.evaluation.source import Source
from covary.evaluation.transformations import Transformed
from covary.keyed import permutation
from covary.methods import CodeMover, LabelMover, Mover, Moves
from covary.methods.mover import same

Predictor = Literal["auto", "own", "ridge"]

HELD_OUT = 0.1  # of the images that a ridge map is fitted on, to choose its penalty by


def own_mover(source: Source, predictor: Predictor, device: torch.device) -> Mover | None:
    """Return the map that the source's method has learned, on the device; None where a ridge map takes its place.

    Raises InputError: predictor is "own" and there is none.
    """
    if predictor == "ridge":
        return None
    method = source.method
    mover = method.mover() if isinstance(method, Moves) else None
    if mover is None and predictor == "own":
        raise InputError(
            f"'{source.name}' has learned no map of features; expected a run of stl, sen, equimod or sie. "
            "Leave out predictor own: a ridge map is then fitted."
        )
    if method is not None and mover is not None:
        method.to(device)
    return mover


def describe(mover: Mover, before: Tensor, after: Tensor, numbers_before: Tensor, numbers_after: Tensor) -> Tensor:
    """Return what leads from one view to another in the mover's terms, (n, K): a code, or the relative label.

    before, after: features (n, D) of both, which a code is read off. numbers: (n, P), how both were made, which the
    label is made of.
    """
    if isinstance(mover, CodeMover):
        return mover.code(before, after)
    if isinstance(mover, LabelMover):
        return mover.labels.relative(numbers_before, numbers_after).to(before)
    raise TypeError(f"{type(mover).__name__} says of nothing how it was done")


def ridge_mover(train: Transformed, recipe: Recipe, *, seed: int) -> tuple[LabelMover, float]:
    """Return a map of features fitted on training images, and its penalty.

    With features y and the relative label l of what is done::

        moved = y + A [y; l; l (x) y] + b

    fitted by least squares with a ridge penalty on the ways from images to their views and from each view to the next.
    """
    labels = Labels(recipe)
    count, images = train.views.shape[:2]
    ways = [(train.start, train.before, view, train.params[v]) for v, view in enumerate(train.views)]
    ways += [(train.views[v], train.params[v], train.views[v + 1], train.params[v + 1]) for v in range(count - 1)]
    before = torch.cat([way[0] for way in ways])
    after = torch.cat([way[2] for way in ways])
    label = torch.cat([labels.relative(way[1], way[3]) for way in ways]).to(before)
    fitted = fit_ridge(_inputs(label, before), after - before, held_out_rows(images, len(ways), seed=seed))

    def move(what: Tensor, features: Tensor) -> Tensor:
        return features + fitted(_inputs(what, features))

    return LabelMover(start=same, move=move, embed=same, labels=labels), fitted.penalty


def held_out_rows(images: int, ways: int, *, seed: int) -> Tensor:
    """Return the rows, way after way, of images held out: whole pairs of partners, with all of their ways."""
    pairs = permutation(images // 2, seed=seed, stream="ridge", epoch=0)[: max(1, round(HELD_OUT * images / 2))]
    both = torch.cat([2 * pairs, 2 * pairs + 1])
    return (both + images * torch.arange(ways)[:, None]).flatten()


def _inputs(label: Tensor, features: Tensor) -> Tensor:
    products = label[:, :, None] * features[:, None]
    return torch.cat([features, label, products.flatten(1)], dim=1)
