"""MoCo v3: from one view of an image, find what a slowly following teacher makes of the other among all images.

Chen, Xie, He: An Empirical Study of Training Self-Supervised Vision Transformers, ICCV 2021, arXiv 2104.02057. The
version without a queue: negatives are the other images of the batch, so that codes and moved features, which age with
their networks, never wait in a memory.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from covary.losses import moco_v3
from covary.methods.abstract import require
from covary.methods.base import TaughtDissimilarity, TeacherBase


@dataclass(frozen=True, kw_only=True)
class MoCo(TeacherBase):
    """Configuration of MoCo v3. Not in the STL paper; sizes of heads and momentum are the original's for ResNet-50."""

    name: ClassVar[str] = "moco"

    temperature: float = 0.2
    """Temperature of the loss (the original's for transformers, and that of SimCLR here; for ResNet-50 it has 1)."""
    head_layers: int = 2
    """Linear layers of the projector."""
    head_hidden: int | None = 4096
    """Width inside the projector; None: 512 up to 512 features, else 2048."""
    embedding: int = 256
    """Width of the embedding."""
    predictor_hidden: int = 4096
    """Width inside the predictor, 256 -> 4096 -> 256."""
    momentum: float = 0.99
    """Momentum of the teacher at the start; it rises to 1 along a cosine."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        super().__post_init__()
        require(self, "temperature", at_least=0, above=True)

    def dissimilarity(self, width: int, *, features: int) -> "MomentumContrast":
        """Return MoCo for rows of ``width`` numbers."""
        return MomentumContrast(self, width, features)


class MomentumContrast(TaughtDissimilarity):
    """MoCo v3's dissimilarity: ``TaughtDissimilarity`` by contrast with the teacher's rows of the other images.

    The projector ends with BatchNorm without weights, as the original's for ResNets. Source: MoCo v3 algorithm 1.
    """

    def __init__(self, config: MoCo, width: int, features: int) -> None:
        last = nn.BatchNorm1d(config.embedding, affine=False)
        super().__init__(config, nn.Sequential(config.projector(width, features=features), last))
        self.temperature = config.temperature

    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return ``moco_v3`` of the two."""
        return moco_v3(predicted, target, temperature=self.temperature)
