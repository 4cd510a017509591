"""E-SSL: beside agreeing, tell by how many quarter turns a small view was turned.

Dangovski et al.: Equivariant Contrastive Learning, ICLR 2022, arXiv 2111.00899. Weight as in the STL paper (arXiv
2501.08712, section 4); which transformation it predicts there is INFERRED to be the original's.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from covary.augment import Recipe
from covary.losses import TURNS, turns
from covary.methods.abstract import AbstractConfig, check_views, require, weighted
from covary.methods.base import Base, InvariantMethod
from covary.methods.simclr import SimCLR
from covary.nets import mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class ESSL(AbstractConfig):
    """Configuration of E-SSL. The view that is turned is the recipe's ``turned``."""

    name: ClassVar[str] = "e-ssl"
    needs = frozenset({"turned"})

    base: Base = SimCLR()
    """Dissimilarity of the invariance loss."""
    weight: float = 0.5
    """Weight of the prediction of the turn (STL paper section 4; the original has 0.4)."""
    hidden: int = 512
    """Width inside the head that predicts, D -> 512 -> 512 -> 4 (INFERRED: as AugSelf's; the original's 2048, with ten
    epochs of warm-up, overshoots at the STL paper's rate without, docs/log.md)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        require(self, "weight", at_least=0, above=True)
        require(self, "hidden", at_least=1)

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "ESSLMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return ESSLMethod(self, encoder, features)


class ESSLMethod(InvariantMethod):
    """E-SSL.

    With features y_v = f(x_v), the base's dissimilarity d, a head h and the extra view x_3 turned by k quarter turns::

        inv  = d(y_1, y_2)
        turn = mean over k = 0..3 of cross-entropy(h(f(turned_k(x_3))), k)
        loss = inv + weight turn

    All four turns go through the encoder in one pass. The head has LayerNorm. Source: E-SSL equation 1 and section 4.
    """

    def __init__(self, config: ESSL, encoder: nn.Module, features: int) -> None:
        super().__init__(config.base, encoder, features)
        self.config = config
        widths = [features, config.hidden, config.hidden, TURNS]
        self.turn_head = mlp(widths, norm=nn.LayerNorm, last_bias=True)
        self.weights = {"inv": 1.0, "turn": config.weight}

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv``, ``turn`` and the spreads."""
        check_views(views, method="E-SSL", needs=self.config.needs)
        terms, y, z = self.compare(views)
        assert views.turned is not None  # check_views
        logits = self.turn_head(self.encoder(views.turned.flatten(0, 1)))
        done = torch.arange(TURNS, device=logits.device).repeat_interleave(views.turned.shape[1])
        return weighted({**terms, "turn": turns(logits, done)}, self.weights, features=y[0], embedding=z)
