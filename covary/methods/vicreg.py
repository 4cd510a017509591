"""VICReg: two views agree, every number of the embedding varies, and no two numbers tell the same.

Bardes, Ponce, LeCun: VICReg, ICLR 2022, arXiv 2105.04906. Not in the STL paper; the projector is of the sizes of
SIE (arXiv 2302.10283).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from covary.errors import InputError
from covary.losses import vicreg
from covary.methods.abstract import require
from covary.methods.base import Base, Dissimilarity, each


@dataclass(frozen=True, kw_only=True)
class VICReg(Base):
    """Configuration of VICReg."""

    name: ClassVar[str] = "vicreg"

    invariance: float = 1.0
    """Weight of the squared distance between the embeddings. The original's weights are 25, 25 and 1, with LARS; by SGD
    at the STL paper's rate they diverge (docs/log.md), so that all three are a 25th of them here."""
    variance: float = 1.0
    """Weight of the hinge that keeps the standard deviation of every number above 1."""
    covariance: float = 0.04
    """Weight of the squared covariances between different numbers."""
    head_layers: int = 3
    """Linear layers of the projector."""
    head_hidden: int | None = 2048
    """Width inside the projector (SIE's; the original has 8192); None: 512 up to 512 features, else 2048."""
    embedding: int = 2048
    """Width of the embedding (SIE's; the original has 8192)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        super().__post_init__()
        require(self, "invariance variance covariance", at_least=0)
        if not (self.invariance or self.variance or self.covariance):
            raise InputError("invariance, variance and covariance are all 0; expected at least one above 0.")

    def dissimilarity(self, width: int, *, features: int) -> "Regularized":
        """Return VICReg for rows of ``width`` numbers."""
        return Regularized(self, width, features)


class Regularized(Dissimilarity):
    """VICReg's dissimilarity, with the projector g: ``vicreg(g(a), g(b))``."""

    def __init__(self, config: VICReg, width: int, features: int) -> None:
        super().__init__()
        self.weights = {
            "invariance": config.invariance,
            "variance": config.variance,
            "covariance": config.covariance,
        }
        self.projector = config.projector(width, features=features)

    def forward(self, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the embeddings of a; the targets are not read."""
        z_a, z_b = each(self.projector, a), each(self.projector, b)
        return vicreg(z_a, z_b, **self.weights), z_a
