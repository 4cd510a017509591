"""AugSelf: beside agreeing, two views of an image tell by what their transformations differ.

Lee, Lee, Lee, Lee, Shin: Improving Transferability of Representations via Augmentation-Aware Self-Supervision,
NeurIPS 2021, arXiv 2111.09613. Weight as in the STL paper (arXiv 2501.08712, section 4).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from covary.augment import Labels, Recipe
from covary.losses import same_or_not, squared_error
from covary.methods.abstract import AbstractConfig, check_views, require, weighted
from covary.methods.base import Base, InvariantMethod
from covary.methods.simclr import SimCLR
from covary.nets import mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class AugSelf(AbstractConfig):
    """Configuration of AugSelf. It predicts the recipe's targets: crop and jitter, or also flip, blur and others."""

    name: ClassVar[str] = "augself"
    needs = frozenset({"labels"})

    base: Base = SimCLR()
    """Dissimilarity of the invariance loss."""
    weight: float = 0.5
    """Weight of the prediction of each operation (STL paper section 4; one for each operation is INFERRED)."""
    hidden: int = 512
    """Width inside the heads that predict, 2D -> 512 -> 512 -> numbers (as the authors)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        require(self, "weight", at_least=0, above=True)
        require(self, "hidden", at_least=1)

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "AugSelfMethod":
        """Return the method around an encoder with ``features`` outputs."""
        return AugSelfMethod(self, encoder, features, recipe)


class AugSelfMethod(InvariantMethod):
    """AugSelf.

    With features y_v = f(x_v), the base's dissimilarity d, a head h_o for each target operation o of the recipe, and
    its relative labels l_o from one view to the other (``augment.Labels``)::

        inv  = d(y_1, y_2)
        o    = ( loss_o(h_o([y_1; y_2]), l_o(1, 2)) + loss_o(h_o([y_2; y_1]), l_o(2, 1)) ) / 2
        loss = inv + weight sum_o o

    loss_o is the squared error of tanh(h_o), and for operations that are done or not (flip, grayscale, solarize) the
    cross-entropy of whether the views differ in it. Heads run once per direction, with BatchNorm statistics of its own;
    the authors' run both directions as one batch.

    Source: AugSelf equations 2 to 4; tanh as in its authors' code.
    """

    def __init__(self, config: AugSelf, encoder: nn.Module, features: int, recipe: Recipe) -> None:
        super().__init__(config.base, encoder, features)
        self.config, self.labels = config, Labels(recipe)
        widths = {name: columns.stop - columns.start for name, columns in self.labels.groups.items()}
        self.predictors = nn.ModuleDict(
            {
                name: mlp([2 * features, config.hidden, config.hidden, width], last_bias=True)
                for name, width in widths.items()
            }
        )
        self.weights = {"inv": 1.0, **dict.fromkeys(widths, config.weight)}

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv``, a term for each operation, and the spreads."""
        check_views(views, method="AugSelf", needs=self.config.needs)
        terms, y, z = self.compare(views)
        forth, back = self._errors(y, views.params), self._errors(y.flip(0), views.params.flip(0))
        terms |= {name: (forth[name] + back[name]) / 2 for name in forth}
        return weighted(terms, self.weights, features=y[0], embedding=z)

    def _errors(self, y: Tensor, params: Tensor) -> dict[str, Tensor]:
        """Return each operation's loss from the first to the second of features (2, b, D) and parameters (2, b, p)."""
        pair, label = torch.cat([y[0], y[1]], dim=1), self.labels.relative(params[0], params[1])
        errors: dict[str, Tensor] = {}
        for name, columns in self.labels.groups.items():
            predicted, wanted = self.predictors[name](pair), label[:, columns]
            yes_no = name in self.labels.binary
            errors[name] = same_or_not(predicted, wanted) if yes_no else squared_error(predicted.tanh(), wanted)
        return errors
