"""Equivariance: do predicted features of a transformed image find it among the image's other views?

STL (arXiv 2501.08712) section 4.2, table 6, after SIE (arXiv 2302.10283) section 4. The paper has 60 transformations of
each test image, crop, colour and both. INFERRED, as it is silent: 20 of each; the start is the image as it is;
candidates are the views of the condition; a code is read off another image with the same transformation, its partner;
parameters are coded as labels (``augment.Labels``).

Beyond the paper: composition and inverse. With phi(u, v) the map that leads from view u to view v, x the image and
a, b two of its views::

    composition   phi(a, b) phi(x, a) x   against   b and phi(x, b) x, and ranked as b
    inverse       phi(a, x) phi(x, a) x   against   x, and ranked as x among x and the views
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from covary.augment import Labels, Recipe
from covary.errors import InputError
from covary.evaluation.movers import Predictor, describe
from covary.evaluation.ranking import Distance, chance, retrieval, similarities
from covary.evaluation.transformations import Ranges, Transformed
from covary.methods import Mover

Space = Literal["features", "embedding"]
Start = Literal["image", "view"]


@dataclass(frozen=True, kw_only=True)
class EquivarianceOptions:
    """What an equivariance result depends on beside encoder and images."""

    transformations: int = 20
    """Views of an image in each condition: crop, color, all. Among them the right one is ranked."""
    images: int = 1000
    """Test images measured on; 0 takes all."""
    start: Start = "image"
    """What is moved: the image as it is, or a view of the condition that is no candidate."""
    space: Space = "features"
    """Where moved features meet candidates: as they are, or as the projector of the equivariance loss sees them."""
    distance: Distance = "cosine"
    """By which candidates are ranked: cosine, or euclidean."""
    predictor: Predictor = "auto"
    """own: the map that the run has learned; ridge: one fitted on training images; auto: own where there is one."""
    train_images: int = 1000
    """Training images that a ridge map is fitted on; 0 takes all."""
    ranges: Ranges = "auto"
    """Ranges of crop and jitter: paper, or auto, those of the run where there is one."""

    def __post_init__(self) -> None:
        """Raise InputError for values that nothing can be ranked with."""
        if self.transformations < 2:
            raise InputError(f"equivariance transformations is {self.transformations}; expected 2 or more.")
        for name in ("images", "train_images"):
            if getattr(self, name) < 0 or getattr(self, name) == 1:
                raise InputError(f"equivariance {name} is {getattr(self, name)}; expected 2 or more, or 0 for all.")
        kinds = {"start": Start, "space": Space, "distance": Distance, "predictor": Predictor, "ranges": Ranges}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise InputError(
                    f"equivariance {name} is '{getattr(self, name)}'; expected {' or '.join(get_args(kind))}."
                )


@dataclass(frozen=True)
class Analogies:
    """Views of images, predicted by what was done to other images, and the images' real views.

    moved:      v of (n, d), the start of each image moved as its example was.
    predicted:  (n, v, e), the same in the space that is compared in. candidates: (n, v, e), the real views.
    similarity: float64 (n, v, v), of each prediction to each real view of its image.
    """

    moved: list[Tensor]
    predicted: Tensor
    candidates: Tensor
    similarity: Tensor


def partner_of(rows: int) -> Tensor:
    """Return the row of each row's partner, int64 (rows,): 2i and 2i+1 exchanged."""
    return torch.arange(rows).view(-1, 2).flip(1).flatten()


@torch.no_grad()
def analogies(mover: Mover, given: Transformed, example: Tensor, *, space: Space, distance: Distance) -> Analogies:
    """Predict all views of images, what was done being read off the pair of start and view of another image.

    mover: how features move. given: images and their views. example: int64 (n,), for each row the row that is read.
    """
    start = mover.start(given.start)
    moved = [_move(mover, given, example, start, None, view) for view in range(len(given.views))]
    predicted = compared(mover, moved, space)
    candidates = compared(mover, [mover.start(view) for view in given.views], space)
    return Analogies(moved, predicted, candidates, similarities(predicted, candidates, distance=distance))


def compared(mover: Mover, rows: list[Tensor], space: Space) -> Tensor:
    """Return v of moved rows (n, d) as they are compared, (n, v, e)."""
    return torch.stack([mover.embed(part) if space == "embedding" else part for part in rows], dim=1)


def _move(
    mover: Mover, given: Transformed, example: Tensor, rows: Tensor, source: int | None, target: int | None
) -> Tensor:
    """Move rows (n, d) by what leads from one view of their examples to another, None being the start."""
    (y_u, p_u), (y_v, p_v) = (
        (given.start, given.before) if view is None else (given.views[view], given.params[view])
        for view in (source, target)
    )
    return mover.move(describe(mover, y_u[example], y_v[example], p_u[example], p_v[example]), rows)


@torch.no_grad()
def equivariance(
    mover: Mover, given: Transformed, recipe: Recipe, *, space: Space, distance: Distance
) -> dict[str, float]:
    """Measure one condition; what was done to an image is always read off its partner, never off the image itself.

    mover:  how features move. given: an even number of test images and their views. recipe: of the views.

    Returns ``mrr``, ``h@1``, ``h@5``, ``pre``, and what a random order scores below ``chance.``; ``error``, that of the
    predicted features, and ``still.error``, that of a map that moves nothing; ``composition.error``, ``.mrr``, the same
    of features moved twice, ``composition.gap``, how far they are from features moved at once, and ``inverse.error``,
    ``.mrr``. Errors are |a - b| / |b|, means over rows, of unit vectors for cosine. A map that moves nothing has gap 0,
    inverse error 0 and inverse MRR 1: these mean something only where ``error`` is below ``still.error``.
    Raises ValueError: the views of partners were not made by the same numbers.
    """
    partner = partner_of(len(given.start))
    if not torch.equal(given.params, given.params[:, partner]):
        raise ValueError("partners did not go through the same transformations")
    found_by = analogies(mover, given, partner, space=space, distance=distance)
    moved, predicted, candidates, count = found_by.moved, found_by.predicted, found_by.candidates, len(given.views)
    following = [(view + 1) % count for view in range(count)]
    onward = [_move(mover, given, partner, moved[view], view, following[view]) for view in range(count)]
    returned = [_move(mover, given, partner, moved[view], view, None) for view in range(count)]
    first = compared(mover, [mover.start(given.start)], space)
    composed, inverted = compared(mover, onward, space), compared(mover, returned, space)
    everyone = torch.arange(count)
    parameters = Labels(recipe).absolute(given.params).transpose(0, 1).to(first.device)

    def ranked(queries: Tensor, among: Tensor, right: Tensor) -> float:
        return retrieval(similarities(queries, among, distance=distance), right)["mrr"]

    found = retrieval(found_by.similarity, everyone, parameters)
    found |= {f"chance.{name}": value for name, value in chance(count, parameters).items()}
    found["error"] = relative_error(predicted, candidates, distance=distance)
    found["composition.error"] = relative_error(composed, candidates[:, following], distance=distance)
    found["composition.gap"] = relative_error(composed, predicted[:, following], distance=distance)
    found["still.error"] = relative_error(first.expand_as(candidates), candidates, distance=distance)
    found["composition.mrr"] = ranked(composed, candidates, torch.tensor(following))
    found["inverse.error"] = relative_error(inverted, first.expand_as(inverted), distance=distance)
    with_start = torch.cat([first, candidates], dim=1)
    found["inverse.mrr"] = ranked(inverted, with_start, torch.zeros(count, dtype=torch.int64))
    found["inverse.chance.mrr"] = chance(count + 1)["mrr"]
    return found


def relative_error(found: Tensor, wanted: Tensor, *, distance: Distance) -> float:
    """Return the mean over rows (..., d) of |a - b| / |b|; of unit vectors for cosine."""
    a, b = found.double(), wanted.double()
    if distance == "cosine":
        a, b = torch.nn.functional.normalize(a, dim=-1), torch.nn.functional.normalize(b, dim=-1)
    return ((a - b).norm(dim=-1) / b.norm(dim=-1).clamp(min=1e-30)).mean().item()
