"""Barlow Twins: each number of an embedding agrees between two views, and tells something that no other number tells.

Zbontar, Jing, Misra, LeCun, Deny: Barlow Twins, ICML 2021, arXiv 2103.03230. Sizes as in the STL paper (arXiv
2501.08712, appendix E.2).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from covary.losses import barlow_twins
from covary.methods.abstract import require
from covary.methods.base import Base, Dissimilarity, each


@dataclass(frozen=True, kw_only=True)
class BarlowTwins(Base):
    """Configuration of Barlow Twins."""

    name: ClassVar[str] = "barlow-twins"

    off_diagonal: float = 0.0051
    """Weight of the correlations between different numbers (the STL paper names none; the original's)."""
    scale: float | None = None
    """Factor of the loss; None: 1 / embedding, a mean over numbers in place of the original's sum, whose gradients are
    made for LARS: by SGD at the STL paper's rate it learned less than it forgot (docs/log.md)."""
    head_layers: int = 2
    """Linear layers of the projector (E.2)."""
    head_hidden: int | None = 512
    """Width inside the projector (E.2); None: 512 up to 512 features, else 2048."""
    embedding: int = 2048
    """Width of the embedding (E.2)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        super().__post_init__()
        require(self, "off_diagonal", at_least=0)
        require(self, "scale", at_least=0, above=True)

    def dissimilarity(self, width: int, *, features: int) -> "Correlation":
        """Return Barlow Twins for rows of ``width`` numbers."""
        return Correlation(self, width, features)


class Correlation(Dissimilarity):
    """Barlow Twins' dissimilarity, with the projector g: ``scale barlow_twins(g(a), g(b))``."""

    def __init__(self, config: BarlowTwins, width: int, features: int) -> None:
        super().__init__()
        self.scale = 1 / config.embedding if config.scale is None else config.scale
        self.off_diagonal = config.off_diagonal
        self.projector = config.projector(width, features=features)

    def forward(self, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the embeddings of a; the targets are not read."""
        z_a, z_b = each(self.projector, a), each(self.projector, b)
        return self.scale * barlow_twins(z_a, z_b, off_diagonal=self.off_diagonal), z_a
