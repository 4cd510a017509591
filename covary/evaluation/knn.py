"""kNN: the classes of the nearest training images vote, the nearer the more.

Weighted as in Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR 2018
(arXiv 1805.01978), section 3.4: a neighbour of cosine similarity s has exp(s / T) votes, T = 0.07. They take k = 200 of
1.28 million ImageNet images; k = 20 is the choice of DINO (arXiv 2104.14294) and suits small sets.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from covary.errors import InputError
from covary.evaluation.metrics import accuracy, check

K = 20
TEMPERATURE = 0.07
NUMBERS_AT_ONCE = {"cpu": 2**24, "cuda": 2**27}  # similarities, or votes, in a block of queries


@dataclass(frozen=True, kw_only=True)
class KnnOptions:
    """What a kNN result depends on beside the features."""

    k: int = K
    """Neighbours that vote; all training images where there are fewer."""
    temperature: float | None = TEMPERATURE
    """T of the votes exp(s / T); None gives every neighbour one vote."""

    def __post_init__(self) -> None:
        """Raise InputError for values that no vote can be held with."""
        if self.k < 1:
            raise InputError(f"knn k is {self.k}; expected 1 or more.")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise InputError(
                f"knn temperature is {self.temperature:g}; expected a positive number, or None for equal votes."
            )


@dataclass(frozen=True)
class KnnResult:
    """Accuracies on the test images, as fractions, and the number of neighbours that voted."""

    top1: float
    mean_per_class: float
    k: int


def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    *,
    k: int = K,
    temperature: float | None = TEMPERATURE,
    classes: int | None = None,
) -> KnnResult:
    """Classify each test image by its k nearest training images under cosine similarity.

    The predicted class maximises ``sum over neighbours j of class c of exp(s_j / T)``. Ties: of neighbours at exactly
    the k-th similarity, the first in the training set; of classes with equal votes, the smaller. An all-zero feature
    has similarity 0 to everything. Memory is bounded by blocks of queries.

    features: float (n, D) on one device. labels: int64 (n,), values in [0, classes). classes: one more than the largest
    label where None.

    Raises InputError: see ``KnnOptions`` and ``metrics.check``.
    """
    options = KnnOptions(k=k, temperature=temperature)
    classes = check(train_features, train_labels, test_features, test_labels, classes)
    k = min(options.k, len(train_features))
    bank, queries = normalize(train_features.float()), normalize(test_features.float())
    rows = max(1, NUMBERS_AT_ONCE[bank.device.type] // max(len(bank), k * classes))
    predictions = [
        _vote(*nearest(block @ bank.mT, k), train_labels, temperature=temperature, classes=classes)
        for block in queries.split(rows)
    ]
    result = accuracy(torch.cat(predictions), test_labels, classes=classes)
    return KnnResult(top1=result.top1, mean_per_class=result.mean_per_class, k=k)


def nearest(similarities: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row and their columns, each (b, k); of equal ones, the first columns."""
    values, columns = similarities.topk(min(k + 1, similarities.shape[1]))
    tied = (values[:, k - 1] == values[:, -1]).nonzero().squeeze(1)  # more at the k-th similarity than fit
    if similarities.shape[1] > k and len(tied):
        values[tied], columns[tied] = (
            ordered[:, : k + 1] for ordered in similarities[tied].sort(dim=1, descending=True, stable=True)
        )
    return values[:, :k], columns[:, :k]


def _vote(similarities: Tensor, columns: Tensor, labels: Tensor, *, temperature: float | None, classes: int) -> Tensor:
    """Return the class with the most votes of each row, int64 (b,)."""
    if temperature is None:
        weights = torch.ones_like(similarities)
    else:
        weights = ((similarities - similarities[:, :1]) / temperature).exp()  # up to a factor: exp(s / T)
    belongs = labels[columns][:, :, None] == torch.arange(classes, device=labels.device)
    return (weights[:, None, :] @ belongs.to(weights.dtype)).squeeze(1).argmax(dim=1)
