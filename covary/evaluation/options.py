"""The options of every task."""

from dataclasses import dataclass

from covary.evaluation.knn import KnnOptions
from covary.evaluation.linear import LinearOptions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What results depend on beside encoder and images, task by task."""

    knn: KnnOptions = KnnOptions()
    linear: LinearOptions = LinearOptions()
