"""SIE: one part of the features agrees between views, the other part moves with the label.

Garrido, Najman, LeCun: Self-supervised learning of Split Invariant Equivariant representations, ICML 2023, arXiv
2302.10283, in the form that the STL paper (arXiv 2501.08712, section 4) compares with, or its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from covary.augment import Labels, Recipe
from covary.errors import InputError
from covary.losses import covariance, squared_error, variance
from covary.methods.abstract import (
    AbstractConfig,
    AbstractMethod,
    check_views,
    encode,
    refuse_unread,
    require,
    weighted,
)
from covary.methods.base import Base, BasedMethod, Rows
from covary.methods.moved import moved_by_label
from covary.methods.mover import LabelMover, Mover, Moves, same
from covary.methods.simclr import SimCLR
from covary.nets import LinearHypernetwork, mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class SIE(AbstractConfig):
    """Configuration of SIE. The labels are those of the recipe's targets."""

    name: ClassVar[str] = "sie"
    needs = frozenset({"labels"})

    form: Literal["base", "original"] = "base"
    """base: both losses are a base's, on features (STL paper); original: VICReg, moved in the space of embeddings."""
    base: Base = SimCLR()
    """Dissimilarity of both losses."""
    invariant: float = 0.5
    """Share of the features that should not change (half in the original; in the STL paper INFERRED)."""
    weight_equi: float = 1.0
    """Weight of the equivariance loss on a base (STL paper section 4)."""
    both_ways: bool = False
    """Also move the second view's features to the first's, as STL does (equation 4 has one way)."""
    invariance: float = 1.0
    """Original form: weight mu of the squared distance of the invariant embeddings. The authors' mu, nu and kappa are
    10, 10 and 1, with Adam; by SGD at the STL paper's rate they diverge (docs/log.md); here they are a tenth."""
    gamma: float = 0.45
    """Original form: the moved embeddings' squared distance weighs gamma mu (the authors' README; their code's default
    is ten times that)."""
    variance: float = 1.0
    """Original form: weight nu of the hinge that keeps the standard deviation of every number above 1."""
    covariance: float = 0.1
    """Original form: weight kappa of the squared covariances between different numbers."""
    hidden: int = 2048
    """Original form: widths of the projectors of both parts together, inside and at the end."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        require(self, "weight_equi", at_least=0, above=True)
        require(self, "invariance gamma variance covariance", at_least=0, above=True)
        require(self, "hidden", at_least=2)
        if not 0 < self.invariant < 1:
            raise InputError(f"invariant is {self.invariant}; expected a share above 0 and below 1.")
        if self.form == "base":
            refuse_unread(self, "invariance gamma variance covariance hidden", because="form 'base' does not read it")
        else:
            refuse_unread(self, "weight_equi", because="form 'original' does not read it")
        if self.form == "original" and self.base != SimCLR():
            raise InputError(
                f"form 'original' has losses of its own and no base; leave out base '{self.base.name}' and its options."
            )

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> AbstractMethod:
        """Return the method around an encoder with ``features`` outputs."""
        kind = SIEMethod if self.form == "base" else OriginalSIEMethod
        return kind(self, encoder, features, recipe)


class SIEMethod(BasedMethod, Moves):
    """SIE on a base.

    With features y_v = [y_v^inv; y_v^eq] of the views v = 1, 2, the relative label l from view 1 to view 2
    (``augment.Labels``), the linear hypernetwork W and the base's dissimilarity d, which has heads of its own for each
    loss::

        inv  = d(y_1^inv, y_2^inv)
        equi = d(y_2^eq, W(l) y_1^eq)
        loss = inv + weight_equi equi
    """

    def __init__(self, config: SIE, encoder: nn.Module, features: int, recipe: Recipe) -> None:
        labels, widths = Labels(recipe), split(features, config.invariant)
        heads = {
            name: config.base.dissimilarity(width, features=features)
            for name, width in zip(("inv", "equi"), widths, strict=True)
        }
        move = LinearHypernetwork(code_dim=labels.width, features=widths[1])
        super().__init__(config.base, networks={"encoder": encoder, "hypernetwork": move}, heads=heads)
        self.config, self.labels, self.widths = config, labels, widths
        self.weights = {"inv": 1.0, "equi": config.weight_equi}

    def rows(self, networks: Mapping[str, nn.Module], views: Views) -> Rows:
        """Return the features, and both sides of the losses."""
        y = encode(networks["encoder"], views.images, joint_pass=self.joint_pass)
        inv, equi = y.split(self.widths, dim=2)
        move = networks["hypernetwork"]
        moved = moved_by_label(move, self.labels, views.params, equi, both_ways=self.config.both_ways)
        return Rows(y, {"inv": (inv[:1], inv[1:]), "equi": moved})

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv``, ``equi`` and the spreads."""
        check_views(views, method="SIE", needs=self.config.needs)
        terms, y, z = self.compare(views)
        return weighted(terms, self.weights, features=y[0], embedding=z)

    def mover(self) -> Mover:
        """Return the hypernetwork on the part of the features that moves."""
        embed = self.get_submodule("heads.equi.projector")
        return LabelMover(start=self._moving, move=self.get_submodule("hypernetwork"), embed=embed, labels=self.labels)

    def _moving(self, features: Tensor) -> Tensor:
        return features.split(self.widths, dim=1)[1]


class OriginalSIEMethod(AbstractMethod, Moves):
    """SIE as its authors train it.

    With embeddings z_v^inv = g_inv(y_v^inv), z_v^eq = g_eq(y_v^eq), Z_v = [z_v^inv; z_v^eq], the moved embeddings
    m = W(l) z_1^eq, and V and C of VICReg (``losses.variance``, ``losses.covariance``)::

        inv        = MSE(z_1^inv, z_2^inv)               equi = MSE(m, z_2^eq)
        variance   = (V(Z_1) + V(Z_2) + V(m)) / 2        covariance = C(Z_1) + C(Z_2)
        loss       = mu inv + gamma mu equi + nu variance + kappa covariance

    With ``both_ways``, m are the embeddings moved either way, and equi compares them with z_2^eq and z_1^eq.
    Source: SIE section 3.3 and the authors' code.
    """

    def __init__(self, config: SIE, encoder: nn.Module, features: int, recipe: Recipe) -> None:
        super().__init__()
        self.config, self.labels, self.encoder = config, Labels(recipe), encoder
        self.widths = split(features, config.invariant)
        inv, equi = split(config.hidden, config.invariant)
        self.projector_inv = mlp([self.widths[0], inv, inv, inv])
        self.projector_equi = mlp([self.widths[1], equi, equi, equi])
        self.hypernetwork = LinearHypernetwork(code_dim=self.labels.width, features=equi)
        c = config
        self.weights = {
            "inv": c.invariance,
            "equi": c.gamma * c.invariance,
            "variance": c.variance,
            "covariance": c.covariance,
        }

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv``, ``equi``, ``variance``, ``covariance`` and ``spread``."""
        check_views(views, method="SIE", needs=self.config.needs)
        y = encode(self.encoder, views.images, joint_pass=self.joint_pass)
        parts = [view.split(self.widths, dim=1) for view in y]
        inv = torch.stack([self.projector_inv(part) for part, _ in parts])
        equi = torch.stack([self.projector_equi(part) for _, part in parts])
        found, moved = moved_by_label(
            self.hypernetwork, self.labels, views.params, equi, both_ways=self.config.both_ways
        )
        whole = torch.cat([inv, equi], dim=2)
        terms = {
            "inv": squared_error(inv[0], inv[1]),
            "equi": squared_error(moved.flatten(0, 1), found.flatten(0, 1)),
            "variance": (variance(whole[0]) + variance(whole[1]) + variance(moved.flatten(0, 1))) / 2,
            "covariance": covariance(whole[0]) + covariance(whole[1]),
        }
        return weighted(terms, self.weights, features=y[0])

    def mover(self) -> Mover:
        """Return the hypernetwork on the embedding of the part of the features that moves."""
        return LabelMover(start=self._moving, move=self.hypernetwork, embed=same, labels=self.labels)

    def _moving(self, features: Tensor) -> Tensor:
        return self.projector_equi(features.split(self.widths, dim=1)[1])


def split(width: int, share: float) -> list[int]:
    """Return the widths of the invariant and the equivariant part, at least 1 each."""
    first = min(max(round(width * share), 1), width - 1)
    return [first, width - first]
