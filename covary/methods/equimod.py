"""EquiMod: views agree, and the features of one view, moved by the label, arrive at those of the other.

Devillers, Lefort: EquiMod: An Equivariance Module to Improve Visual Instance Discrimination, ICLR 2023, arXiv
2211.01244, in the form that the STL paper (arXiv 2501.08712, section 4) compares with, or its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from covary.augment import Labels, Recipe
from covary.losses import info_nce
from covary.methods.abstract import AbstractConfig, check_views, encode, refuse_unread, require, weighted
from covary.methods.base import Base, BasedMethod, Rows, default_hidden, with_temperature
from covary.methods.moved import moved_by_label
from covary.methods.mover import LabelMover, Mover, Moves, same
from covary.methods.simclr import SimCLR
from covary.nets import LinearHypernetwork, mlp
from covary.types import Views

CONCAT_TEMPERATURE = 0.2  # the authors'


@dataclass(frozen=True, kw_only=True)
class EquiMod(AbstractConfig):
    """Configuration of EquiMod. The labels are those of the recipe's targets."""

    name: ClassVar[str] = "equimod"
    needs = frozenset({"labels"})

    base: Base = SimCLR()
    """Dissimilarity of the invariance loss and, for the hypernetwork, of the equivariance loss."""
    weight_equi: float = 1.0
    """Weight of the equivariance loss (STL paper section 4)."""
    temperature_equi: float | None = None
    """Temperature of the equivariance loss; None: the base's, 0.2 for the predictor concat."""
    predictor: Literal["hypernetwork", "concat"] = "hypernetwork"
    """What moves: a linear hypernetwork on features (STL paper), or, as the original, a linear layer on an embedding
    side by side with a projected label, contrasted by InfoNCE whatever the base."""
    label_width: int = 128
    """Width of the projected label of concat (as the authors)."""
    both_ways: bool = False
    """Also move the second view's features to the first's, as STL does (equation 4 has one way)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        require(self, "weight_equi", at_least=0, above=True)
        require(self, "label_width", at_least=1)
        require(self, "temperature_equi", at_least=0, above=True)
        if self.predictor == "hypernetwork":
            refuse_unread(self, "label_width", because="predictor 'hypernetwork' does not read it")
            with_temperature(self.base, self.temperature_equi, name="temperature_equi")

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "EquiModMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return EquiModMethod(self, encoder, features, recipe)


class EquiModMethod(BasedMethod, Moves):
    """EquiMod.

    With features y_v = f(x_v), the relative label l from view 1 to view 2 (``augment.Labels``), the linear
    hypernetwork W and the base's dissimilarity d, which has heads of its own for each loss::

        inv  = d(y_1, y_2)
        equi = d(y_2, W(l) y_1)
        loss = inv + weight_equi equi

    With the predictor concat, an equivariant projector g, a projection psi of the label and a linear layer u::

        equi = InfoNCE(g(y_2), u([g(y_1); psi(l)]))

    The original moves from a view that is not augmented; here as in the STL paper there are two views, both augmented
    (INFERRED). Source: STL equation 4; EquiMod section 3.
    """

    def __init__(self, config: EquiMod, encoder: nn.Module, features: int, recipe: Recipe) -> None:
        labels, base = Labels(recipe), config.base
        networks: dict[str, nn.Module] = {"encoder": encoder}
        heads = {"inv": base.dissimilarity(features, features=features)}
        if config.predictor == "hypernetwork":
            networks["hypernetwork"] = LinearHypernetwork(code_dim=labels.width, features=features)
            equi = with_temperature(base, config.temperature_equi, name="temperature_equi")
            heads["equi"] = equi.dissimilarity(features, features=features)
        super().__init__(base, networks=networks, heads=heads)
        self.config, self.labels = config, labels
        self.weights = {"inv": 1.0, "equi": config.weight_equi}
        self.concat = Concat(config, labels.width, features) if config.predictor == "concat" else None

    def rows(self, networks: Mapping[str, nn.Module], views: Views) -> Rows:
        """Return the features, and both sides of the losses that are the base's."""
        y = encode(networks["encoder"], views.images, joint_pass=self.joint_pass)
        sides = {"inv": (y[:1], y[1:])}
        if "hypernetwork" in networks:
            move = networks["hypernetwork"]
            sides["equi"] = moved_by_label(move, self.labels, views.params, y, both_ways=self.config.both_ways)
        return Rows(y, sides)

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv``, ``equi`` and the spreads."""
        check_views(views, method="EquiMod", needs=self.config.needs)
        terms, y, embedding = self.compare(views)
        if self.concat is not None:
            z = torch.stack([self.concat.projector(view) for view in y])
            found, moved = moved_by_label(self.concat, self.labels, views.params, z, both_ways=self.config.both_ways)
            temperature = self.config.temperature_equi or CONCAT_TEMPERATURE
            terms["equi"] = info_nce(found.flatten(0, 1), moved.flatten(0, 1), temperature=temperature)
        return weighted(terms, self.weights, features=y[0], embedding=embedding)

    def mover(self) -> Mover:
        """Return the hypernetwork on features, or concat's layer on embeddings."""
        if self.concat is not None:
            return LabelMover(start=self.concat.projector, move=self.concat, embed=same, labels=self.labels)
        embed = self.get_submodule("heads.equi.projector")
        return LabelMover(start=same, move=self.get_submodule("hypernetwork"), embed=embed, labels=self.labels)


class Concat(nn.Module):
    """EquiMod's own predictor, with its projector: ``u([z; psi(label)])``, both linear, BatchNorm behind each.

    The projector has BatchNorm without weights at its end, as the predictor. Source: the authors' code.
    """

    def __init__(self, config: EquiMod, label_width: int, features: int) -> None:
        super().__init__()
        hidden, embedding = config.base.head_hidden or default_hidden(features), config.base.embedding
        self.projector = nn.Sequential(
            mlp([features, hidden, hidden, embedding]), nn.BatchNorm1d(embedding, affine=False)
        )
        self.project_label = nn.Sequential(
            nn.Linear(label_width, config.label_width, bias=False), nn.BatchNorm1d(config.label_width)
        )
        self.mix = nn.Sequential(
            nn.Linear(embedding + config.label_width, embedding, bias=False), nn.BatchNorm1d(embedding, affine=False)
        )

    def forward(self, label: Tensor, z: Tensor) -> Tensor:
        """Return the moved embeddings (b, d) of labels (b, L) and embeddings (b, d)."""
        return self.mix(torch.cat([z, self.project_label(label)], dim=1))
