"""Accuracies of predicted classes, and what every protocol asks of the features that it is given."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from covary.errors import InputError
from covary.evaluation.features import check_finite

Metric = Literal["top1", "mean_per_class"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclass(frozen=True)
class Accuracy:
    """Two accuracies of one set of predictions, as fractions.

    top1:           the share of images whose class was predicted.
    mean_per_class: the mean, over the classes that have an image, of the share of their images whose class was
                    predicted.
    """

    top1: float
    mean_per_class: float

    def by(self, metric: Metric) -> float:
        """Return the accuracy of that name."""
        return self.top1 if metric == "top1" else self.mean_per_class


def accuracy(predictions: Tensor, labels: Tensor, *, classes: int) -> Accuracy:
    """Return the accuracies of predictions (n,) for labels (n,), both int64 in [0, classes)."""
    hits = torch.bincount(labels[predictions == labels], minlength=classes).double()
    images = torch.bincount(labels, minlength=classes)
    present = images > 0
    return Accuracy(
        top1=(hits.sum() / images.sum()).item(), mean_per_class=(hits[present] / images[present]).mean().item()
    )


def check(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor, classes: int | None
) -> int:
    """Return the number of classes, from the labels where it is not given.

    Raises InputError: a set is empty, features and labels differ in number, train and test features in length, a
    feature is not finite, a label is outside [0, classes).
    """
    for name, features, labels in (("train", train_features, train_labels), ("test", test_features, test_labels)):
        if features.ndim != 2 or labels.shape != features.shape[:1]:
            raise InputError(
                f"{name} features have shape {tuple(features.shape)} and labels {tuple(labels.shape)}; "
                "expected (n, D) and (n,)."
            )
        if len(features) == 0:
            raise InputError(f"There are no {name} images; an evaluation needs one or more.")
        check_finite(features, f"{name} images")
    if train_features.shape[1] != test_features.shape[1]:
        raise InputError(
            f"train features have {train_features.shape[1]} dimensions and test features {test_features.shape[1]}; "
            "compute both with one encoder."
        )
    lowest = min(int(train_labels.min()), int(test_labels.min()))
    highest = max(int(train_labels.max()), int(test_labels.max()))
    classes = highest + 1 if classes is None else classes
    if lowest < 0 or highest >= classes:
        raise InputError(f"Labels run from {lowest} to {highest}; expected 0 to {classes - 1} for {classes} classes.")
    return classes
