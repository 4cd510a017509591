"""Linear accuracy: a logistic regression on frozen features, its penalty chosen on held-out training images.

The protocol of AugSelf (arXiv 2111.09613), which STL (arXiv 2501.08712, appendix C) follows: features after average
pooling, neither normalised nor augmented; F(W) = sum of cross-entropies + lambda * |W|^2, bias included; 45 values of
lambda, log-spaced in [1e-6, 1e5]; at most 5000 steps of L-BFGS each; the best on the validation images, the smaller
of equals; fitted again on training and validation images, starting from the best classifier; measured on the test
images.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from covary.errors import InputError, did_you_mean
from covary.evaluation.logistic import minimise, predict
from covary.evaluation.metrics import METRICS, Metric, accuracy, check
from covary.keyed import permutation

Split = Literal["auto", "paper", "stratified"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class LinearOptions:
    """What a linear result depends on beside the features."""

    penalties: int = 45
    """Values of lambda to choose from, log-spaced."""
    penalty_range: tuple[float, float] = (1e-6, 1e5)
    """Smallest and largest lambda."""
    split: Split = "auto"
    """Images held out to choose lambda by: paper (its table 10), stratified, or auto (the paper's for its sets)."""
    metric: Literal["auto"] | Metric = "auto"
    """The accuracy that lambda is chosen by: top1, mean_per_class, or auto (the set's of table 10, else top1)."""
    validation: float = 0.1
    """Share of each class's training images that a stratified split holds out."""
    tolerance: float = 1e-8
    """A fit ends when its objective is estimated to be within this share of its minimum."""
    max_steps: int = 5000
    """Evaluations after which a fit ends unconverged."""

    def __post_init__(self) -> None:
        """Raise InputError for values that no fit can be made with."""
        for name, value, known in (("split", self.split, SPLITS), ("metric", self.metric, ("auto", *METRICS))):
            if value not in known:
                raise InputError(
                    f"linear {name} is '{value}'; expected {', '.join(known)}.{did_you_mean(value, known)}"
                )
        low, high = self.penalty_range
        if self.penalties < 1:
            raise InputError(f"linear penalties is {self.penalties}; expected 1 or more.")
        if not 0 < low < high < math.inf:
            raise InputError(f"linear penalty_range is {low:g} to {high:g}; expected 0 < smallest < largest.")
        if not 0 < self.validation < 1:
            raise InputError(f"linear validation is {self.validation:g}; expected a share between 0 and 1.")
        if not 1e-12 <= self.tolerance < 1:
            raise InputError(f"linear tolerance is {self.tolerance:g}; expected 1e-12 or more, below 1.")
        if self.max_steps < 1:
            raise InputError(f"linear max_steps is {self.max_steps}; expected 1 or more.")

    def lambdas(self) -> list[float]:
        """Return the values of lambda, ascending."""
        low, high = (math.log10(end) for end in self.penalty_range)
        return torch.logspace(low, high, self.penalties, dtype=torch.float64).tolist()


@dataclass(frozen=True, kw_only=True)
class LinearResult:
    """The accuracies, and how they came about.

    top1, mean_per_class: on the test images, as fractions.
    accuracy:         the one of them that the penalty was chosen by.
    penalty:          lambda chosen.
    scores:           for each lambda, ascending, the accuracy on the validation images.
    steps:            for each lambda, evaluations of its objective.
    not_converged:    fits that ended at ``max_steps``, the last one included.
    images:           numbers of training, validation and test images.
    weight:           float64 (C, D + 1), the classifier measured, the bias last.
    """

    top1: float
    mean_per_class: float
    accuracy: float
    penalty: float
    scores: tuple[float, ...]
    steps: tuple[int, ...]
    not_converged: int
    images: tuple[int, int, int]
    weight: Tensor


def linear(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    classes: int | None = None,
    validation: Tensor | None = None,
    options: LinearOptions | None = None,
    seed: int = 0,
) -> LinearResult:
    """Choose the penalty on validation images, fit again on all training images, measure on test images.

    features:   float (n, D) on one device, which the fits run on, in float64. labels: int64 (n,), in [0, classes).
    classes:    one more than the largest label where None.
    validation: int64, rows of the training images to choose the penalty by (``transfer.hold_out``); ``stratified`` with
                ``options.validation`` and ``seed`` where None.
    options:    ``metric`` "auto" is top1, and ``split`` is not looked at: features do not tell which set they are of.

    Raises InputError: see ``LinearOptions``, ``metrics.check`` and ``stratified``; one class; validation rows that
    leave nothing to fit, or that are out of range.
    """
    options = options or LinearOptions()
    classes = check(train_features, train_labels, test_features, test_labels, classes)
    if classes < 2:
        raise InputError("There is one class; a linear evaluation needs two or more.")
    if validation is None:
        validation = stratified(train_labels, fraction=options.validation, seed=seed)
    fitted = _others(validation, len(train_labels)).to(train_labels.device)
    validation = validation.to(train_labels.device)
    metric = "top1" if options.metric == "auto" else options.metric
    lambdas = options.lambdas()
    search = minimise(
        train_features[fitted],
        train_labels[fitted],
        classes=classes,
        penalties=lambdas,
        tolerance=options.tolerance,
        max_steps=options.max_steps,
    )
    predictions = predict(train_features[validation], search.weight)
    accuracies = [accuracy(row, train_labels[validation], classes=classes) for row in predictions]
    scores = [score.by(metric) for score in accuracies]
    best = scores.index(max(scores))
    final = minimise(
        train_features,
        train_labels,
        classes=classes,
        penalties=[lambdas[best]],
        start=search.weight[best],
        tolerance=options.tolerance,
        max_steps=options.max_steps,
    )
    measured = accuracy(predict(test_features, final.weight)[0], test_labels, classes=classes)
    return LinearResult(
        top1=measured.top1,
        mean_per_class=measured.mean_per_class,
        accuracy=measured.by(metric),
        penalty=lambdas[best],
        scores=tuple(scores),
        steps=tuple(search.steps.tolist()),
        not_converged=int((~search.converged).sum() + (~final.converged).sum()),
        images=(len(fitted), len(validation), len(test_labels)),
        weight=final.weight[0].cpu(),
    )


def stratified(labels: Tensor, *, fraction: float, seed: int) -> Tensor:
    """Return rows of a share of each class's images, ascending, int64.

    A class of m images gives ``floor(fraction * m + 1/2)`` of them, but at least one and never all; a class of one
    image gives none. Which ones is a function of (seed, n) and the labels.

    Raises InputError: no class has two images.
    """
    labels = labels.cpu()
    images = torch.bincount(labels)
    share = (fraction * images + 0.5).floor().long()
    share = torch.minimum(share.clamp(min=1), (images - 1).clamp(min=0))
    if not share.any():
        raise InputError("No class has two training images; one to fit and one to choose the penalty by are needed.")
    order = permutation(len(labels), seed=seed, stream="validation", epoch=0)
    by_class = order[labels[order].argsort(stable=True)]
    place = torch.arange(len(labels)) - (images.cumsum(0) - images)[labels[by_class]]
    return by_class[place < share[labels[by_class]]].sort().values


def _others(rows: Tensor, n: int) -> Tensor:
    """Return the rows of n that are not among ``rows``, ascending."""
    if len(rows) == 0 or int(rows.min()) < 0 or int(rows.max()) >= n:
        raise InputError(f"Validation rows must be one or more of 0 to {n - 1}.")
    left = torch.ones(n, dtype=torch.bool)
    left[rows.cpu()] = False
    if not left.any():
        raise InputError("All training images are validation images; none is left to fit.")
    return left.nonzero().squeeze(1)
