"""SimCLR: two views of one image agree, and differ from all other images.

Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations,
ICML 2020, arXiv 2002.05709.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from covary.losses import info_nce
from covary.methods.abstract import require
from covary.methods.base import Base, Dissimilarity, each


@dataclass(frozen=True, kw_only=True)
class SimCLR(Base):
    """Configuration of SimCLR; the defaults are those of the STL paper (arXiv 2501.08712, appendix E)."""

    name: ClassVar[str] = "simclr"
    presets = MappingProxyType({"paper": {}, "official_code": {"head_layers": 2, "head_hidden": 512}})

    temperature: float = 0.2
    """Temperature of the loss (E.1; for ResNet-50 not restated, INFERRED)."""
    head_layers: int = 3
    """Linear layers of the projector (E.1: "3-layer"; that this counts linear layers is INFERRED)."""
    head_hidden: int | None = None
    """Width inside the projector; None: 512 up to 512 features, else 2048 (E.1, E.2)."""
    embedding: int = 128
    """Width of the embedding (E.1, E.2)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        super().__post_init__()
        require(self, "temperature", at_least=0, above=True)

    def dissimilarity(self, width: int, *, features: int) -> "Contrast":
        """Return SimCLR for rows of ``width`` numbers."""
        return Contrast(self, width, features)


class Contrast(Dissimilarity):
    """SimCLR's dissimilarity, with the projector g: ``InfoNCE(g(a), g(b))``."""

    def __init__(self, config: SimCLR, width: int, features: int) -> None:
        super().__init__()
        self.temperature = config.temperature
        self.projector = config.projector(width, features=features)

    def forward(self, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the embeddings of a; the targets are not read."""
        z_a, z_b = each(self.projector, a), each(self.projector, b)
        return info_nce(z_a, z_b, temperature=self.temperature), z_a
