"""SimSiam: from one view of an image, predict the embedding of the other, which is held fixed.

Chen, He: Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv 2011.10566. Sizes as in the STL paper
(arXiv 2501.08712, appendix E.2); what that leaves open as in AugSelf (arXiv 2111.09613).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from covary.losses import negative_cosine
from covary.methods.abstract import require
from covary.methods.base import Base, Dissimilarity, embed
from covary.nets import mlp


@dataclass(frozen=True, kw_only=True)
class SimSiam(Base):
    """Configuration of SimSiam.

    The authors keep the predictor's learning rate constant; so does a run of this base by default
    (``optim.constant_lr``).
    """

    name: ClassVar[str] = "simsiam"
    constant_lr = ("predictor",)
    can_collapse = True

    head_layers: int = 2
    """Linear layers of the projector (E.2)."""
    head_hidden: int | None = 2048
    """Width inside the projector (E.2); None: 512 up to 512 features, else 2048."""
    embedding: int = 2048
    """Width of the embedding (E.2)."""
    predictor_hidden: int = 512
    """Width inside the predictor, 2048 -> 512 -> 2048 (INFERRED: as AugSelf and the original)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        super().__post_init__()
        require(self, "predictor_hidden", at_least=1)

    def dissimilarity(self, width: int, *, features: int) -> "Siamese":
        """Return SimSiam for rows of ``width`` numbers."""
        return Siamese(self, width, features)


class Siamese(Dissimilarity):
    """SimSiam's dissimilarity.

    With the projector g, the predictor h, D(p, z) = -mean cos(p, z), and sg, which lets no gradient through::

        1/2 D(h(g(a)), sg g(b)) + 1/2 D(h(g(b)), sg g(a))

    The STL paper calls D the cosine similarity; its sign must be negative. Source: SimSiam equations 1 to 3.
    """

    def __init__(self, config: SimSiam, width: int, features: int) -> None:
        super().__init__()
        self.projector = config.projector(width, features=features)
        self.predictor = mlp([config.embedding, config.predictor_hidden, config.embedding])

    def forward(self, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the embeddings of a; the targets are not read."""
        (z_a, from_a), (z_b, from_b) = (embed(self.projector, self.predictor, side) for side in (a, b))
        return (negative_cosine(from_a, z_b.detach()) + negative_cosine(from_b, z_a.detach())) / 2, z_a
