"""What is asked about under transformations: images, their views as features, a map fitted on training images."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from covary.augment import Recipe
from covary.data import ImageStore
from covary.errors import InputError
from covary.evaluation.equivariance import Start
from covary.evaluation.movers import ridge_mover
from covary.evaluation.subject import Subject, some_rows
from covary.evaluation.transformations import Transformed, draw, unchanged
from covary.methods import LabelMover, ReadsCodes

RIDGE_VIEWS = 2  # of each training image
LEAST_TRAIN = 20  # images that a probe or a ridge map can be fitted on


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A ridge map, the penalty that it was fitted with, and on how many training images."""

    mover: LabelMover
    penalty: float
    images: int


def asked_about(subject: Subject) -> Tensor:
    """Return the rows of the test images that equivariance is measured on; 2i and 2i+1 are partners."""
    return some_rows(subject.test, subject.options.equivariance.images, subject.seed, "equivariance", even=True)


def fitted(subject: Subject, recipe: Recipe, *, stream: str) -> Fit:
    """Return the ridge map for the views of a recipe that equivariance gives an encoder without a map of its own."""
    train = some_rows(subject.train, subject.options.equivariance.train_images, subject.seed, "ridge", even=True)
    fitting = replace(recipe, views=RIDGE_VIEWS)
    views = transformed(subject, subject.train, train, fitting, stream=f"ridge {stream}")
    mover, penalty = ridge_mover(views, recipe, seed=subject.seed)
    return Fit(mover=mover, penalty=penalty, images=len(train))


def reader_of(subject: Subject) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Return what the run reads codes by, features before and after to codes, on the device; None where it does not."""
    method = subject.source.method
    reader = method.reader() if isinstance(method, ReadsCodes) else None
    if method is not None and reader is not None:
        method.to(subject.device)
    return reader


def transformed(
    subject: Subject, store: ImageStore, rows: Tensor, recipe: Recipe, *, stream: str, start: Start = "image"
) -> Transformed:
    """Return images, or a first view of them, and their views as features on the device."""
    params = numbers(recipe, len(rows), seed=subject.seed, stream=stream, start=start)
    features = subject.extractor.views(store, rows, params, recipe).to(subject.device)
    return Transformed(start=features[0], views=features[1:], before=params[0], params=params[1:])


def numbers(recipe: Recipe, count: int, *, seed: int, stream: str, start: Start = "image") -> Tensor:
    """Return how the start and the views of ``count`` images are made, float32 (1 + v, count, P)."""
    params = draw(replace(recipe, views=1 + recipe.views), count, seed=seed, stream=stream)
    if start == "image":
        params[0] = unchanged(recipe, count)
    return params


def check_count(store: ImageStore, least: int) -> None:
    """Raise InputError where there are fewer images."""
    if len(store) < least:
        raise InputError(
            f"{store.name} has {len(store)} {store.split} images; this task expects {least} or more of them."
        )
