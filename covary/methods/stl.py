"""STL: learn what was done to an image from pairs of images to which the same was done.

Yu, Choi, Lee, Hong, Kim: Self-supervised Transformation Learning for Equivariant Representations, NeurIPS
2024, arXiv 2501.08712. Where the paper and its published code differ: the presets ``paper`` and
``official_code``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from covary.augment import Recipe
from covary.errors import InputError
from covary.methods.abstract import AbstractConfig, check_views, encode, refuse_unread, require, weighted
from covary.methods.base import Base, BasedMethod, Rows, with_temperature
from covary.methods.mover import CodeMover, Mover, Moves, ReadsCodes, same
from covary.methods.simclr import SimCLR
from covary.nets import LinearHypernetwork, LowRankHypernetwork, mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class STL(AbstractConfig):
    """Configuration of STL; the defaults are the preset ``paper``.

    A loss of weight 0 is not computed, and parts that only it needs are not built.
    """

    name: ClassVar[str] = "stl"
    needs = frozenset({"partners"})
    presets = MappingProxyType(
        {
            "paper": {},
            "official_code": {
                "base": SimCLR.preset("official_code"),
                "head_trans_hidden": 128,
                "weight_trans": 0.1,
                "code_layers": 2,
                "code_hidden": 128,
            },
        }
    )

    base: Base = SimCLR()
    """Dissimilarity of all three losses (paper appendix A)."""
    weight_inv: float = 1.0
    """Weight of the invariance loss (paper section 4)."""
    weight_equi: float = 1.0
    """Weight of the equivariance loss (paper section 4)."""
    weight_trans: float = 0.2
    """Weight of the transformation loss (paper section 4; the authors' code has 0.1)."""
    temperature_equi: float | None = None
    """Temperature of the equivariance loss; None: the base's (three in the paper, one of 0.2 in the code)."""
    temperature_trans: float | None = None
    """Temperature of the transformation loss; None: the base's (as above)."""
    code: int = 128
    """Width of the transformation code (E.1)."""
    code_layers: int = 3
    """Linear layers of the transformation encoder (E.1: "3-layer"; counting linear layers is INFERRED)."""
    code_hidden: int = 512
    """Width inside the transformation encoder (E.1; for ResNet-50 INFERRED)."""
    rank: int | None = None
    """Rank of the hypernetwork's weight, which then has rank (2 D + code) numbers; None: all D D code, the paper's."""
    head_trans_hidden: int | None = None
    """Width inside the projector of codes; None: as the base's of features (INFERRED)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range, and when no loss has a weight."""
        require(self, "weight_inv weight_equi weight_trans", at_least=0)
        require(self, "code code_layers code_hidden head_trans_hidden rank", at_least=1)
        if not any(self.weights.values()):
            raise InputError("weight_inv, weight_equi and weight_trans are all 0; expected at least one above 0.")
        for term in {"equi", "trans"} - self.weights.keys():
            refuse_unread(self, f"temperature_{term}", because=f"weight_{term} is 0")
        if "equi" not in self.weights:
            refuse_unread(self, "rank", because="weight_equi is 0")
        for name in ("temperature_equi", "temperature_trans"):
            with_temperature(self.base, getattr(self, name), name=name)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss by its name, without those of weight 0."""
        weights = {"inv": self.weight_inv, "equi": self.weight_equi, "trans": self.weight_trans}
        return {name: weight for name, weight in weights.items() if weight > 0}

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "STLMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return STLMethod(self, encoder, features)


class STLMethod(BasedMethod, Moves, ReadsCodes):
    """STL.

    With features y_v = f(x_v) of the views v = 1, 2 of an image, codes of the way from one view to the
    other, s(i) the partner of row i, to which the same was done, and the base's dissimilarity d, which has heads of
    its own for each loss::

        forth = f_T([y_1; y_2])                  back = f_T([y_2; y_1])
        moved_2 = W(forth[s]) y_1                moved_1 = W(back[s]) y_2
        inv   = d(y_1, y_2)
        equi  = d([y_1; y_2], [moved_1; moved_2])
        trans = d([forth; back] of even rows, [forth; back] of odd rows)
        loss  = weight_inv inv + weight_equi equi + weight_trans trans

    The code that moves an image's features is its partner's, never its own, from which the moved features
    could be copied. Nothing is detached but what the base detaches. Every network runs once per view or direction,
    with BatchNorm statistics of its own, as the authors do. ``views.params`` is never read.

    Source: paper section 3, equations 5 to 14; appendix A for other bases than SimCLR.
    """

    def __init__(self, config: STL, encoder: nn.Module, features: int) -> None:
        c, weights = config, config.weights
        networks: dict[str, nn.Module] = {"encoder": encoder}
        if "equi" in weights or "trans" in weights:
            networks["transformation_encoder"] = mlp([2 * features, *[c.code_hidden] * (c.code_layers - 1), c.code])
        if "equi" in weights:
            networks["hypernetwork"] = (
                LinearHypernetwork(code_dim=c.code, features=features)
                if c.rank is None
                else LowRankHypernetwork(code_dim=c.code, features=features, rank=c.rank)
            )
        trans = with_temperature(c.base, c.temperature_trans, name="temperature_trans")
        bases = {
            "inv": (c.base, features),
            "equi": (with_temperature(c.base, c.temperature_equi, name="temperature_equi"), features),
            "trans": (replace(trans, head_hidden=c.head_trans_hidden or c.base.head_hidden), c.code),
        }
        heads = {
            name: base.dissimilarity(width, features=features)
            for name, (base, width) in bases.items()
            if name in weights
        }
        super().__init__(config.base, networks=networks, heads=heads)
        self.config, self.weights = config, weights

    def rows(self, networks: Mapping[str, nn.Module], views: Views) -> Rows:
        """Return the features, and both sides of the losses that have a weight."""
        y = encode(networks["encoder"], views.images, joint_pass=self.joint_pass)
        sides = {"inv": (y[:1], y[1:])}
        if "transformation_encoder" in networks:
            f_t, (y1, y2) = networks["transformation_encoder"], y
            codes = torch.stack([read(f_t, y1, y2), read(f_t, y2, y1)])
            sides["trans"] = (codes[:, 0::2].flatten(0, 1)[None], codes[:, 1::2].flatten(0, 1)[None])
            if "hypernetwork" in networks:
                forth, back = codes
                move = networks["hypernetwork"]
                moved = torch.stack([move(of_partner(back), y2), move(of_partner(forth), y1)])
                sides["equi"] = (y, moved)
        return Rows(y, sides)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, the spreads and those of ``inv``, ``equi``, ``trans`` whose weight is not 0."""
        check_views(views, method="STL", needs=self.config.needs)
        terms, y, z = self.compare(views)
        return weighted(terms, self.weights, features=y[0], embedding=z)

    def reader(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return the transformation encoder, None where no loss needs it."""
        if not self.weights.keys() & {"equi", "trans"}:
            return None
        return partial(read, self.get_submodule("transformation_encoder"))

    def mover(self) -> Mover | None:
        """Return the hypernetwork on features, None without the equivariance loss."""
        code = self.reader()
        if code is None or "equi" not in self.weights:
            return None
        embed = self.get_submodule("heads.equi.projector")
        return CodeMover(start=same, move=self.get_submodule("hypernetwork"), embed=embed, code=code)


def read(transformation_encoder: nn.Module, before: Tensor, after: Tensor) -> Tensor:
    """Return the codes (n, K) of what leads from features (n, D) to features (n, D)."""
    return transformation_encoder(torch.cat([before, after], dim=1))


def of_partner(rows: Tensor) -> Tensor:
    """Return the rows (b, k) with 2i and 2i+1 exchanged."""
    return rows.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
