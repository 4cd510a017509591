"""SEN: the features of one view, moved by the label, arrive at those of the other; nothing else is asked.

Park, Biza, Zhao, van de Meent, Walters: Learning Symmetric Embeddings for Equivariant World Models, ICML 2022, arXiv
2204.11371, in the form that the STL paper (arXiv 2501.08712, section 4) compares with: images, the hypernetwork of
SIE, a contrastive loss. That it has no invariance loss is INFERRED.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from covary.augment import Labels, Recipe
from covary.methods.abstract import AbstractConfig, check_views, encode, weighted
from covary.methods.base import Base, BasedMethod, Rows
from covary.methods.moved import moved_by_label
from covary.methods.mover import LabelMover, Mover, Moves, same
from covary.methods.simclr import SimCLR
from covary.nets import LinearHypernetwork
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class SEN(AbstractConfig):
    """Configuration of SEN. The labels are those of the recipe's targets."""

    name: ClassVar[str] = "sen"
    needs = frozenset({"labels"})

    base: Base = SimCLR()
    """Dissimilarity of the equivariance loss."""
    both_ways: bool = False
    """Also move the second view's features to the first's, as STL does (equation 4 has one way)."""

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "SENMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return SENMethod(self, encoder, features, recipe)


class SENMethod(BasedMethod, Moves):
    """SEN.

    With features y_v = f(x_v), the relative label l from view 1 to view 2 (``augment.Labels``), the linear
    hypernetwork W and the base's dissimilarity d::

        loss = equi = d(y_2, W(l) y_1)
    """

    def __init__(self, config: SEN, encoder: nn.Module, features: int, recipe: Recipe) -> None:
        labels = Labels(recipe)
        networks = {
            "encoder": encoder,
            "hypernetwork": LinearHypernetwork(code_dim=labels.width, features=features),
        }
        super().__init__(
            config.base, networks=networks, heads={"equi": config.base.dissimilarity(features, features=features)}
        )
        self.config, self.labels, self.weights = config, labels, {"equi": 1.0}

    def rows(self, networks: Mapping[str, nn.Module], views: Views) -> Rows:
        """Return the features, and both sides of the equivariance loss."""
        y = encode(networks["encoder"], views.images, joint_pass=self.joint_pass)
        move = networks["hypernetwork"]
        sides = moved_by_label(move, self.labels, views.params, y, both_ways=self.config.both_ways)
        return Rows(y, {"equi": sides})

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``equi`` and the spreads."""
        check_views(views, method="SEN", needs=self.config.needs)
        terms, y, z = self.compare(views)
        return weighted(terms, self.weights, features=y[0], embedding=z)

    def mover(self) -> Mover:
        """Return the hypernetwork on features."""
        embed = self.get_submodule("heads.equi.projector")
        return LabelMover(start=same, move=self.get_submodule("hypernetwork"), embed=embed, labels=self.labels)
