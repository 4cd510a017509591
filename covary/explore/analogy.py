"""Analogies: what was done to one image is done to another's features; which of its real views are they nearest to?"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from covary.augment import Recipe
from covary.evaluation.equivariance import analogies, partner_of
from covary.evaluation.movers import own_mover
from covary.evaluation.prepared import LEAST_TRAIN, check_count, fitted, numbers, transformed
from covary.evaluation.ranking import chance, places, retrieval
from covary.evaluation.subject import Subject
from covary.evaluation.transform_tasks import check_equivariance
from covary.evaluation.transformations import CONDITIONS, WHOLE, Transformed, only, ranges_of, says
from covary.explore.page import packed
from covary.methods import CodeMover, LabelMover, Mover
from covary.methods.mover import same

IMAGES = 12  # any two of which are example and other image
VARIANTS = 12  # of each image: one is the true one
KINDS: Mapping[str, str] = MappingProxyType(
    {"crop": "Crop", "color": "Colour", "all": "Crop and colour", "rotation": "Rotation", "augmix": "AugMix"}
)
DIFFERENCE = CodeMover(
    start=same, move=lambda code, rows: rows + code, embed=same, code=lambda before, after: after - before
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of transformation. ``params``, float32 (v, n, P), are those that evaluate draws for n images.

    Partners share them, so there are n / 2 sets; here every image goes through each.
    """

    name: str
    recipe: Recipe
    params: Tensor

    @property
    def sets(self) -> Tensor:
        """The different numbers, float32 (v, n / 2, P)."""
        return self.params[:, ::2]

    @property
    def grid(self) -> Tensor:
        """The numbers of all images under each set, set after set, float32 (v, n / 2 * n, P)."""
        return self.sets.repeat_interleave(self.params.shape[1], dim=1)

    def rows(self, images: Tensor) -> Tensor:
        """Return the rows of the images, int64 (n,), as often as there are sets."""
        return images.repeat(self.sets.shape[1])

    def to_json(self) -> Mapping[str, Any]:
        """Return what the page says of it."""
        return {"name": self.name, "title": KINDS[self.name], "says": says(self.recipe)}


@dataclass(frozen=True, kw_only=True)
class Analogy:
    """What a run makes of the analogies of a kind.

    similarity: float64 (n, n, v, v): example image, other image, what was done, real view of the other image.
    better, tied: int64 (n, n, v), views more similar than the true one, and as similar (``ranking.places``).
    mrr, chance: mean reciprocal rank with partners as examples, as evaluate has it, and that of a random order.
    says:       how features are moved.
    """

    similarity: Tensor
    better: Tensor
    tied: Tensor
    mrr: float
    chance: float
    says: str

    def to_json(self) -> Mapping[str, Any]:
        """Return what the page looks up: nothing is ranked there."""
        order = self.similarity.argsort(dim=3, descending=True, stable=True)
        return {
            "similarity": packed(self.similarity.float()),
            "order": packed(order.byte()),
            "better": packed(self.better.byte()),
            "tied": packed(self.tied.byte()),
            "mrr": self.mrr,
            "chance": self.chance,
            "says": self.says,
        }


def check(subject: Subject) -> None:
    """Raise InputError where there are too few images, for the maps that will have to be fitted too."""
    check_equivariance(subject)
    if not isinstance(own_mover(subject.source, "auto", subject.device), CodeMover):
        check_count(subject.train, LEAST_TRAIN)


def kind_of(subject: Subject, base: Recipe, name: str, images: int) -> Kind:
    """Return a kind by name, with the base's ranges; crop, color and all are the conditions of evaluate."""
    still = replace(only(base, ("crop",), views=VARIANTS), crop=WHOLE)
    if name == "rotation":
        turned = replace(base.rotation, degrees=base.rotation.degrees or 30.0, p=1.0)
        recipe = replace(still, rotation=turned, targets=("rotation",))
    elif name == "augmix":
        recipe = replace(still, augmix=replace(base.augmix, p=1.0), targets=("augmix",))
    else:
        recipe = only(base, CONDITIONS[name], views=VARIANTS)
    return Kind(name=name, recipe=recipe, params=numbers(recipe, images, seed=subject.seed, stream=name)[1:])


def analogy(subject: Subject, kind: Kind, images: Tensor) -> Analogy:
    """Move every image's features by what was done to every other image, and rank its real views.

    Where example and other image are partners, these are the items of evaluate, computed by the same calls.
    images: int64 (n,), rows of the test images that the kind was drawn for.
    """
    options, count = subject.options.equivariance, len(images)
    recipe = ranges_of(kind.recipe, subject.extractor, "auto")
    mover, how = _mover(subject, kind, recipe)
    compare = partial(analogies, mover, space=options.space, distance=options.distance)
    given = transformed(subject, subject.test, images, recipe, stream=kind.name)
    partner, everyone = partner_of(count), torch.arange(VARIANTS)
    evaluated = compare(given, partner).similarity
    views = subject.extractor.views(subject.test, kind.rows(images), kind.grid, recipe).to(subject.device)
    views, shape = views.unflatten(1, (-1, count)), (count, count, VARIANTS, VARIANTS)
    similarity = torch.empty(shape, dtype=torch.float64)
    for example in range(count):
        params = kind.sets[:, example // 2, None].expand(-1, count, -1)
        under = Transformed(start=given.start, views=views[:, example // 2], before=given.before, params=params)
        read_off = torch.full((count,), example)
        similarity[example] = compare(under, read_off).similarity.cpu()
    similarity[partner, torch.arange(count)] = evaluated.cpu()
    better, tied = places(similarity.flatten(0, 1), everyone)
    return Analogy(
        similarity=similarity,
        better=better.view(shape[:3]),
        tied=tied.view(shape[:3]),
        mrr=retrieval(evaluated, everyone)["mrr"],
        chance=chance(VARIANTS)["mrr"],
        says=how,
    )


def _mover(subject: Subject, kind: Kind, recipe: Recipe) -> tuple[Mover, str]:
    """Return how features are moved, and a sentence that says so.

    For the conditions of evaluate it is the map that evaluate takes. Others need one that reads codes, or a label.
    """
    own = own_mover(subject.source, "auto", subject.device)
    if isinstance(own, CodeMover):
        return own, "The run reads a code off the example pair, and its hypernetwork moves the other image by it."
    if isinstance(own, LabelMover) and (kind.name in CONDITIONS or kind.name in own.labels.groups):
        return own, "The run's own map moves the other image; it is told the numbers of the example's transformation."
    if kind.name == "augmix":
        return DIFFERENCE, (
            "No map of this run knows AugMix, and no numbers could tell it: the difference of the example's features, "
            "after minus before, is added to those of the other image."
        )
    fit = fitted(subject, recipe, stream=kind.name)
    return fit.mover, (
        f"The run has learned no map for this: a ridge map, fitted on {fit.images:,} training images, is told the "
        "numbers of the example's transformation."
    )
