"""STL: learn what was done to an image from pairs of images to which the same was done.

Yu, Choi, Lee, Hong, Kim: Self-supervised Transformation Learning for Equivariant Representations, NeurIPS
2024, arXiv 2501.08712. Where the paper and its published code differ: the presets ``paper`` and
``official_code``.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from covary.errors import InputError
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
from covary.nets import LinearHypernetwork, mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class STL:
    """Configuration of STL; the defaults are the preset ``paper``.

    A loss of weight 0 is not computed, and parts that only it needs are not built.
    """

    name: ClassVar[str] = "stl"
    needs_partners: ClassVar[bool] = True
    presets: ClassVar[tuple[str, ...]] = ("paper", "official_code")

    weight_inv: float = 1.0
    """Weight of the invariance loss (paper section 4)."""
    weight_equi: float = 1.0
    """Weight of the equivariance loss (paper section 4)."""
    weight_trans: float = 0.2
    """Weight of the transformation loss (paper section 4; the authors' code has 0.1)."""
    temperature_inv: float = 0.2
    """Temperature of the invariance loss (three in the paper; that all are 0.2 is INFERRED from the code)."""
    temperature_equi: float = 0.2
    """Temperature of the equivariance loss (as above)."""
    temperature_trans: float = 0.2
    """Temperature of the transformation loss (as above)."""
    code: int = 128
    """Width of the transformation code (E.1)."""
    code_layers: int = 3
    """Linear layers of the transformation encoder (E.1: "3-layer"; counting linear layers is INFERRED)."""
    code_hidden: int = 512
    """Width inside the transformation encoder (E.1; for ResNet-50 INFERRED)."""
    head_layers: int = 3
    """Linear layers of each of the three projectors (E.1: "3-layer"; counting linear layers is INFERRED)."""
    head_hidden: int | None = None
    """Width inside the projectors of features; None: 512 up to 512 features, else 2048 (E.1, E.2)."""
    head_trans_hidden: int | None = None
    """Width inside the projector of codes; None: as head_hidden (INFERRED)."""
    embedding: int = 128
    """Width of the three embeddings (E.1, E.2)."""
    joint_pass: bool = False
    """Encode both views in one pass with common BatchNorm statistics; the authors use one pass for each."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range, and when no loss has a weight."""
        require(self, "weight_inv weight_equi weight_trans", at_least=0)
        require(self, "temperature_inv temperature_equi temperature_trans", at_least=0, above=True)
        require(
            self,
            "code code_layers code_hidden head_layers head_hidden head_trans_hidden embedding",
            at_least=1,
        )
        if not any(self.weights.values()):
            raise InputError("weight_inv, weight_equi and weight_trans are all 0; expected at least one above 0.")

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss by its name."""
        return {"inv": self.weight_inv, "equi": self.weight_equi, "trans": self.weight_trans}

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return ``paper`` (the defaults) or ``official_code`` (what the authors published)."""
        check_preset(name, cls.presets)
        if name == "paper":
            return cls()
        return cls(
            weight_trans=0.1,
            code_layers=2,
            code_hidden=128,
            head_layers=2,
            head_hidden=512,
            head_trans_hidden=128,
        )

    def build(self, encoder: nn.Module, features: int) -> "STLMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return STLMethod(self, encoder, features)


class STLMethod(AbstractMethod):
    """STL.

    With features y_v = f(x_v) of the views v = 1, 2 of an image, codes of the way from one view to the
    other, and s(i) the partner of row i, to which the same was done::

        forth = f_T([y_1; y_2])                  back = f_T([y_2; y_1])
        moved_2 = W(forth[s]) y_1                moved_1 = W(back[s]) y_2
        inv   = InfoNCE(g_inv(y_1), g_inv(y_2))
        equi  = InfoNCE([g_equi(y_1); g_equi(y_2)], [g_equi(moved_1); g_equi(moved_2)])
        trans = InfoNCE(g_trans([forth; back] of even rows), g_trans([forth; back] of odd rows))
        loss  = weight_inv inv + weight_equi equi + weight_trans trans

    The code that moves an image's features is its partner's, never its own, from which the moved features
    could be copied. Nothing is detached. Every network runs once per view or direction, with BatchNorm
    statistics of its own, as the authors do. ``views.params`` is never read.

    Source: paper section 3, equations 5 to 14.
    """

    def __init__(self, config: STL, encoder: nn.Module, features: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        c, equi, trans = config, config.weight_equi > 0, config.weight_trans > 0
        code_widths = [2 * features, *[c.code_hidden] * (c.code_layers - 1), c.code]
        self.head_inv = self._head(features, c.head_hidden, features) if c.weight_inv > 0 else None
        self.transformation_encoder = mlp(code_widths) if equi or trans else None
        self.hypernetwork = LinearHypernetwork(code_dim=c.code, features=features) if equi else None
        self.head_equi = self._head(features, c.head_hidden, features) if equi else None
        self.head_trans = self._head(c.code, c.head_trans_hidden or c.head_hidden, features) if trans else None

    def _head(self, width_in: int, hidden: int | None, features: int) -> nn.Sequential:
        c = self.config
        return mlp(head_widths(width_in, hidden, layers=c.head_layers, width_out=c.embedding, features=features))

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``spread`` and those of ``inv``, ``equi``, ``trans`` whose weight is not 0."""
        check_views(views, method="STL", partners=True)
        c = self.config
        y1, y2 = encode(self.encoder, views.images, joint_pass=c.joint_pass)
        terms: dict[str, Tensor] = {}
        if self.head_inv is not None:
            terms["inv"] = info_nce(self.head_inv(y1), self.head_inv(y2), temperature=c.temperature_inv)
        if self.transformation_encoder is not None:
            forth = self.transformation_encoder(torch.cat([y1, y2], dim=1))
            back = self.transformation_encoder(torch.cat([y2, y1], dim=1))
            if self.hypernetwork is not None and self.head_equi is not None:
                moved1 = self.hypernetwork(_of_partner(back), y2)
                moved2 = self.hypernetwork(_of_partner(forth), y1)
                made, found = (
                    [self.head_equi(y1), self.head_equi(y2)],
                    [self.head_equi(moved1), self.head_equi(moved2)],
                )
                terms["equi"] = info_nce(torch.cat(made), torch.cat(found), temperature=c.temperature_equi)
            if self.head_trans is not None:
                evens = self.head_trans(torch.cat([forth[0::2], back[0::2]]))
                odds = self.head_trans(torch.cat([forth[1::2], back[1::2]]))
                terms["trans"] = info_nce(evens, odds, temperature=c.temperature_trans)
        return weighted(terms, c.weights, features=y1)


def _of_partner(rows: Tensor) -> Tensor:
    """Return the rows (b, k) with 2i and 2i+1 exchanged."""
    return rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
