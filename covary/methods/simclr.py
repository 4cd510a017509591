"""SimCLR: two views of one image agree, and differ from all other images.

Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations,
ICML 2020, arXiv 2002.05709.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor, nn

from covary.losses import info_nce
from covary.methods.base import (
    AbstractMethod,
    check_preset,
    check_views,
    encode,
    head_widths,
    require,
    weighted,
)
from covary.nets import mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class SimCLR:
    """Configuration of SimCLR; the defaults are those of the STL paper (arXiv 2501.08712, appendix E)."""

    name: ClassVar[str] = "simclr"
    needs_partners: ClassVar[bool] = False
    presets: ClassVar[tuple[str, ...]] = ("paper", "official_code")

    temperature: float = 0.2
    """Temperature of the loss (E.1; for ResNet-50 not restated, INFERRED)."""
    head_layers: int = 3
    """Linear layers of the projector (E.1: "3-layer"; that this counts linear layers is INFERRED)."""
    head_hidden: int | None = None
    """Width inside the projector; None: 512 up to 512 features, else 2048 (E.1, E.2)."""
    embedding: int = 128
    """Width of the embedding (E.1, E.2)."""
    joint_pass: bool = False
    """Encode both views in one pass with common BatchNorm statistics; the authors use one pass for each."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        require(self, "temperature", at_least=0, above=True)
        require(self, "head_layers head_hidden embedding", at_least=1)

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return ``paper`` (the defaults) or ``official_code`` (a head of two layers, as STL's authors')."""
        check_preset(name, cls.presets)
        return cls() if name == "paper" else cls(head_layers=2)

    def build(self, encoder: nn.Module, features: int) -> "SimCLRMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return SimCLRMethod(self, encoder, features)


class SimCLRMethod(AbstractMethod):
    """SimCLR.

    With features y_v = f(x_v) of the views v = 1, 2 and the projector g::

        loss = inv = InfoNCE(g(y_1), g(y_2))
    """

    def __init__(self, config: SimCLR, encoder: nn.Module, features: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        c = config
        self.head_inv = mlp(
            head_widths(features, c.head_hidden, layers=c.head_layers, width_out=c.embedding, features=features)
        )

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv`` and ``spread``."""
        check_views(views, method="SimCLR", partners=False)
        y1, y2 = encode(self.encoder, views.images, joint_pass=self.config.joint_pass)
        inv = info_nce(self.head_inv(y1), self.head_inv(y2), temperature=self.config.temperature)
        return weighted({"inv": inv}, {"inv": 1.0}, features=y1)
