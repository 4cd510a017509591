"""BYOL: from one view of an image, predict what a slowly following teacher makes of the other.

Grill et al.: Bootstrap Your Own Latent, NeurIPS 2020, arXiv 2006.07733. Sizes as in the STL paper (arXiv
2501.08712, appendix E.2); what that leaves open as in AugSelf (arXiv 2111.09613).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from covary.losses import normalized_mse
from covary.methods.base import TaughtDissimilarity, TeacherBase


@dataclass(frozen=True, kw_only=True)
class BYOL(TeacherBase):
    """Configuration of BYOL."""

    name: ClassVar[str] = "byol"
    can_collapse = True

    head_layers: int = 2
    """Linear layers of the projector (E.2)."""
    head_hidden: int | None = 4096
    """Width inside the projector (E.2); None: 512 up to 512 features, else 2048."""
    embedding: int = 256
    """Width of the embedding (E.2)."""
    predictor_hidden: int = 4096
    """Width inside the predictor, 256 -> 4096 -> 256 (INFERRED: as AugSelf and the original)."""
    momentum: float = 0.996
    """Momentum of the teacher at the start; it rises to 1 along a cosine (INFERRED: as AugSelf and the original)."""

    def dissimilarity(self, width: int, *, features: int) -> "Bootstrap":
        """Return BYOL for rows of ``width`` numbers."""
        return Bootstrap(self, width, features)


class Bootstrap(TaughtDissimilarity):
    """BYOL's dissimilarity: ``TaughtDissimilarity`` by the mean squared distance of unit rows.

    Source: BYOL equation 2, symmetrised; STL equation 15.
    """

    def __init__(self, config: BYOL, width: int, features: int) -> None:
        super().__init__(config, config.projector(width, features=features))

    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return ``normalized_mse`` of the two."""
        return normalized_mse(predicted, target)
