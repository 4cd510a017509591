"""Few-shot accuracy: small classification problems, drawn from the test images, each learned from a few of them.

The protocol of AugSelf's published evaluation (arXiv 2111.09613; 5 ways, 16 queries a class, 2000 episodes): in every
episode a logistic regression, one class against the rest, is fitted to the features of the support images, and scored
on the queries; INFERRED for STL, whose paper does not measure it. For a class with labels t_i = 1 (its own) or -1, z_i
the features with a 1 appended, the objective is scikit-learn's with C = 1 and the intercept penalised ("liblinear")::

    F(w) = |w|^2 / 2 + sum_i log(1 + exp(-t_i w . z_i))

The other classifier, the nearest class mean of normalised features, is the one of Prototypical Networks (arXiv
1703.05175) under cosine similarity.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from covary.errors import InputError, did_you_mean
from covary.evaluation.logistic import with_constant
from covary.evaluation.metrics import check
from covary.keyed import bits

Classifier = Literal["logistic", "centroid"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)

Z95 = 1.96  # half the width, in standard errors, of the interval that holds 95 % of a normal distribution
NUMBERS_AT_ONCE = {"cpu": 2**22, "cuda": 2**26}  # features, or random words, in a block of episodes
STEPS = 2.0 ** -torch.arange(16)  # of Newton's direction, tried at once
MOST_ITERATIONS = 100
CLOSE = 1e-10  # a fit ends where half the squared Newton decrement, F's distance to its minimum, is this share of F


@dataclass(frozen=True, kw_only=True)
class FewShotOptions:
    """What a few-shot result depends on beside the features."""

    shots: tuple[int, ...] = (1, 5)
    """Support images of each class; one result for each number."""
    ways: int = 5
    """Classes of an episode."""
    queries: int = 16
    """Images of each class that an episode is scored on."""
    episodes: int = 2000
    """Episodes to average over."""
    classifier: Classifier = "logistic"
    """logistic: one class against the rest, on the features as they are; centroid: the nearest class mean, cosine."""

    def __post_init__(self) -> None:
        """Raise InputError for values that no episode can be drawn with."""
        for name, number, least in (
            ("shots", min(self.shots, default=0), 1),
            ("ways", self.ways, 2),
            ("queries", self.queries, 1),
            ("episodes", self.episodes, 2),
        ):
            if number < least:
                raise InputError(f"few-shot {name} is {number}; expected {least} or more.")
        if self.classifier not in CLASSIFIERS:
            raise InputError(
                f"few-shot classifier is '{self.classifier}'; expected {' or '.join(CLASSIFIERS)}."
                f"{did_you_mean(self.classifier, CLASSIFIERS)}"
            )


@dataclass(frozen=True)
class FewShotResult:
    """Mean over the episodes of the share of right queries, and half the width of its 95 % interval."""

    accuracy: float
    ci95: float


def few_shot(
    features: Tensor, labels: Tensor, *, options: FewShotOptions | None = None, seed: int = 0
) -> dict[int, FewShotResult]:
    """Return the accuracy for each number of shots.

    The interval is ``accuracy ± 1.96 s / sqrt(episodes)``, s the standard deviation of the episodes' accuracies. Of
    classes that score alike, the smaller is predicted.

    features: float (n, D). labels: int64 (n,). Computed in float64 on their device, in blocks of episodes.

    Raises InputError: see ``FewShotOptions`` and ``lacking``; features that are not finite.
    """
    options = options or FewShotOptions()
    check(features, labels, features, labels, None)
    if lack := lacking(labels, options):
        raise InputError(lack)
    classify = _logistic if options.classifier == "logistic" else _centroid
    results = {}
    for shots in options.shots:
        hits = []
        for rows in episodes(labels, shots=shots, options=options, seed=seed, width=features.shape[1]):
            x = features[rows].double()
            predictions = classify(x[:, :, :shots], x[:, :, shots:])
            truth = torch.arange(options.ways, device=x.device)[:, None]
            hits.append((predictions == truth).double().mean(dim=(1, 2)))
        accuracies = torch.cat(hits)
        results[shots] = FewShotResult(
            accuracy=accuracies.mean().item(),
            ci95=Z95 * accuracies.std(correction=0).item() / math.sqrt(options.episodes),
        )
    return results


def lacking(labels: Tensor, options: FewShotOptions) -> str | None:
    """Return what images with such labels lack for an episode and what to change, in one line; None where nothing."""
    images = torch.bincount(labels)
    present = int((images > 0).sum())
    if present < options.ways:
        return f"The test images are of {present} classes; few-shot ways is {options.ways}: lower it."
    fewest, shots = int(images[images > 0].min()), max(options.shots)
    needed = shots + options.queries
    if fewest < needed:
        return (
            f"A class has {fewest} test images; {shots} shots and {options.queries} queries need {needed}: "
            "lower few-shot shots or queries."
        )
    return None


def episodes(labels: Tensor, *, shots: int, options: FewShotOptions, seed: int, width: int = 1) -> Iterator[Tensor]:
    """Yield blocks of episodes: rows of the images, int64 (b, ways, shots + queries), the shots first.

    Classes are drawn without repetition, then images of each of them; a function of (seed, shots, episode, labels).
    width: numbers that each image stands for, which bounds a block.
    """
    images = torch.bincount(labels)
    classes = images.nonzero().squeeze(1)
    ranked = labels.argsort(stable=True)
    first = images.cumsum(0) - images
    most, taken = int(images.max()), shots + options.queries
    block = max(1, NUMBERS_AT_ONCE[labels.device.type] // (options.ways * max(most, taken * width)))
    for position in torch.arange(options.episodes, device=labels.device).split(block):
        stream = f"few-shot/{shots}"
        order = bits(seed=seed, stream=stream, epoch=0, position=position, view=0, slots=len(classes))
        chosen = classes[order.argsort(dim=1, stable=True)[:, : options.ways]]
        words = bits(seed=seed, stream=stream, epoch=0, position=position, view=1, slots=options.ways * most)
        words = words.view(-1, options.ways, most)
        beyond = torch.arange(most, device=labels.device) >= images[chosen][:, :, None]
        places = words.masked_fill(beyond, 2**32).argsort(dim=2, stable=True)[:, :, :taken]
        yield ranked[first[chosen][:, :, None] + places]


def _centroid(support: Tensor, queries: Tensor) -> Tensor:
    """Return the predicted way of each query, int64 (b, ways, queries); both (b, ways, images, D)."""
    means = normalize(normalize(support, dim=3).mean(2), dim=2)
    return (queries.flatten(1, 2) @ means.mT).argmax(2).view(queries.shape[:3])


def _logistic(support: Tensor, queries: Tensor) -> Tensor:
    """Return the predicted way of each query, int64 (b, ways, queries); both (b, ways, images, D).

    A minimum lies in the span of the support images, so that the fits run in as many dimensions as there are of these.
    """
    ways, shots = support.shape[1:3]
    x, z = (with_constant(part.flatten(0, 2)).unflatten(0, (len(part), -1)) for part in (support, queries))
    axes, coordinates = torch.linalg.qr(x.mT)  # x = coordinates^T axes^T
    target = 2 * torch.eye(ways, dtype=x.dtype, device=x.device).repeat_interleave(shots, dim=1) - 1
    weight = one_against_rest(coordinates.mT, target)
    return (z @ axes @ weight.mT).argmax(2).view(queries.shape[:3])


def one_against_rest(x: Tensor, target: Tensor) -> Tensor:
    """Minimise F for every episode and class by Newton's method; returns w (b, C, K).

    Each iteration takes the best of 16 halvings of the step, found from the scores alone, which are linear in it.

    x: float64 (b, S, K). target: (C, S) of 1 and -1.
    """
    weight = x.new_zeros(len(x), len(target), x.shape[2])
    steps = STEPS.to(x)[:, None, None]
    identity = torch.eye(x.shape[2], dtype=x.dtype, device=x.device)
    for _ in range(MOST_ITERATIONS):
        scores = weight @ x.mT
        wrong = torch.sigmoid(-target * scores)
        gradient = weight - (target * wrong) @ x
        curvature = wrong * (1 - wrong)
        hessian = torch.einsum("bcs,bsk,bsl->bckl", curvature, x, x) + identity
        move = -torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(hessian))[..., 0]
        if (-(gradient * move).sum(2) / 2 <= CLOSE * _objective(weight, scores, target)).all():
            break
        change = move @ x.mT
        tried = torch.stack([_objective(weight + step * move, scores + step * change, target) for step in steps])
        weight = weight + steps[tried.argmin(0)].squeeze(-1) * move
    return weight


def _objective(weight: Tensor, scores: Tensor, target: Tensor) -> Tensor:
    """Return F (b, C) of weights (b, C, K) whose scores are (b, C, S)."""
    return weight.square().sum(2) / 2 + softplus(-target * scores).sum(2)
