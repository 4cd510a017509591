"""Transformation codes of pairs to which one thing was done, and the maps that a hypernetwork makes of them.

STL (arXiv 2501.08712) figures 1 and 4: representations of transformations, and the matrices W(t) of the hypernetwork,
of test images, coloured by type, and by which quarter of its range a parameter lies in. INFERRED, as it is silent: one
pair a test image, from the image as it is; types in turn; the range of a crop is that of its area.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from covary.augment import COLUMNS, Recipe
from covary.errors import InputError
from covary.evaluation.movers import describe, own_mover
from covary.evaluation.subject import Subject
from covary.evaluation.transformations import CONDITIONS, TYPES, draw_each, only, ranges_of, single, unchanged
from covary.keyed import permutation
from covary.methods import Mover
from covary.nets import LinearHypernetwork, LowRankHypernetwork

QUARTERS = 4


@dataclass(frozen=True)
class Codes:
    """What was done to images, one thing each, as a run describes it.

    rows:     float32 (n, K), codes read off pairs, or labels.
    types:    int64 (n,), indices into ``TYPES``.
    quarters: int64 (n,), 0 to 3, in which quarter of its range the parameter lies: the area of a crop, a factor, a hue.
    gram:     float64 (K, K), inner products of the matrices of the hypernetwork that follows them (its ``gram``).
    """

    rows: Tensor
    types: Tensor
    quarters: Tensor
    gram: Tensor

    @property
    def maps(self) -> Tensor:
        """Rows whose distances are those of the matrices W(t), Frobenius norm, float64 (n, K).

        W is linear in t: |W(t) - W(t')|^2 = (t - t')^T G (t - t') with G = gram, so that R t with R^T R = G has the
        same distances; no matrix of D x D numbers is made.
        """
        values, vectors = torch.linalg.eigh(self.gram)
        return self.rows.double() @ (vectors * values.clamp(min=0).sqrt())


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images before and after one change.

    images:        int64 (n,), rows of the test images.
    before, after: float32 (n, P), how the two views of each are made by ``recipe``.
    types, quarters: as in ``Codes``.
    """

    images: Tensor
    before: Tensor
    after: Tensor
    types: Tensor
    quarters: Tensor
    recipe: Recipe


@torch.no_grad()
def codes_of(subject: Subject, images: int) -> Codes:
    """Return the codes, or labels, of pairs of the first ``images`` test images of a random order.

    Raises InputError: the source has no method with a linear hypernetwork.
    """
    mover = own_mover(subject.source, "auto", subject.device)
    move = hypernetwork_of(mover)
    if mover is None or move is None:
        raise InputError(f"'{subject.source.name}' moves features by no linear hypernetwork; expected stl or equimod.")
    pairs = single_changes(subject, images)
    numbers = pairs.before, pairs.after
    features = subject.extractor.views(subject.test, pairs.images, torch.stack(numbers), pairs.recipe)
    before, after = features.to(subject.device)
    rows = describe(mover, before, after, *numbers).cpu()
    return Codes(rows=rows, types=pairs.types, quarters=pairs.quarters, gram=move.gram().cpu())


def single_changes(subject: Subject, images: int) -> Pairs:
    """Return how one thing is done to each of the first ``images`` test images of a random order, types in turn."""
    base = ranges_of(subject.source.recipe, subject.extractor, "auto")
    chosen = permutation(len(subject.test), seed=subject.seed, stream="codes", epoch=0)[:images]
    recipe = only(base, CONDITIONS["all"], views=1)
    before = unchanged(recipe, len(chosen))
    types = torch.arange(len(chosen)) % len(TYPES)
    drawn = draw_each(recipe, len(chosen), seed=subject.seed, stream="codes")[0]
    after = single(before, drawn, types)
    return Pairs(
        images=chosen, before=before, after=after, types=types, quarters=quarters(after, types, recipe), recipe=recipe
    )


def hypernetwork_of(mover: Mover | None) -> LinearHypernetwork | LowRankHypernetwork | None:
    """Return the linear hypernetwork that moves features, None where something else does."""
    move = None if mover is None else mover.move
    return move if isinstance(move, LinearHypernetwork | LowRankHypernetwork) else None


def quarters(params: Tensor, types: Tensor, recipe: Recipe) -> Tensor:
    """Return in which quarter of its range in the recipe the parameter of each type lies, int64 (n,), 0 to 3.

    params: float32 (n, P). types: int64 (n,), indices into ``TYPES``.
    """
    crop, jitter, found = params[:, COLUMNS["crop"]], recipe.jitter, torch.empty_like(types)
    for index, name in enumerate(TYPES):
        if name == "crop":
            values, (low, high) = crop[:, 2] * crop[:, 3], recipe.crop.scale
        elif name == "hue":
            values, (low, high) = params[:, COLUMNS[name]].squeeze(1), (-jitter.hue, jitter.hue)
        else:
            reach = getattr(jitter, name)
            values, (low, high) = params[:, COLUMNS[name]].squeeze(1), (max(0.0, 1 - reach), 1 + reach)
        rows = types == index
        share = (values[rows] - low) / max(high - low, 1e-12)
        found[rows] = (share * QUARTERS).long().clamp(0, QUARTERS - 1)
    return found
