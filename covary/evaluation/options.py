"""The options of every task."""

from dataclasses import dataclass

from covary.evaluation.equivariance import EquivarianceOptions
from covary.evaluation.knn import KnnOptions
from covary.evaluation.linear import LinearOptions
from covary.evaluation.prediction import PredictionOptions
from covary.evaluation.sensitivity import SensitivityOptions


@dataclass(frozen=True, kw_only=True)
class Options:
    """What results depend on beside encoder and images, task by task."""

    knn: KnnOptions = KnnOptions()
    linear: LinearOptions = LinearOptions()
    prediction: PredictionOptions = PredictionOptions()
    equivariance: EquivarianceOptions = EquivarianceOptions()
    sensitivity: SensitivityOptions = SensitivityOptions()
