"""What a method is, and the few lines that all methods share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from covary import dist
from covary.augment import COLUMNS, Recipe, turned_view
from covary.errors import InputError, did_you_mean
from covary.nets import Teacher
from covary.types import Views

Need = Literal["partners", "labels", "turned"]
NUMBERS = max(column.stop for column in COLUMNS.values())  # that every view is made by


@dataclass(frozen=True, kw_only=True)
class AbstractConfig(ABC):
    """Configuration of a method. A subclass is a frozen dataclass of its options and implements ``build``.

    name:    what the method is called in ``--method`` and in ``run.json``.
    needs:   what its views must bring: partners, labels (the parameters of the recipe's targets), a turned view.
    views:   how many views of an image it takes.
    presets: the options of each preset that differ from the defaults.
    """

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]] = frozenset()
    views: ClassVar[int] = 2
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({"paper": {}})

    @abstractmethod
    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "AbstractMethod":
        """Return the method around an encoder with ``features`` outputs, for views made by the recipe."""

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the configuration of a preset; raises ``InputError`` where the method has none of the name."""
        if name not in cls.presets:
            raise InputError(
                f"method '{cls.name}' has no preset '{name}'; it has {', '.join(cls.presets)}."
                f"{did_you_mean(name, cls.presets)}"
            )
        return cls(**cls.presets[name])

    def fit(self, recipe: Recipe) -> Recipe:
        """Return the recipe with what the method needs of it, and without what it does not."""
        turned = turned_view(recipe.size) if "turned" in self.needs else None
        return replace(recipe, partners="partners" in self.needs, turned=turned, views=self.views)

    def check(self, recipe: Recipe) -> None:
        """Raise ``InputError`` unless views made by the recipe bring what the method needs."""
        if recipe.views != self.views:
            raise InputError(f"method '{self.name}' takes {self.views} views; leave out augment.views {recipe.views}.")
        if "partners" in self.needs and not recipe.partners:
            raise InputError(f"method '{self.name}' needs partners; leave out --augment.no-partners.")
        if "turned" in self.needs and recipe.turned is None:
            raise InputError(
                f"method '{self.name}' needs the extra view that it turns; the recipe must declare one, "
                "such as turned=TurnedView(size=16)."
            )
        if self.needs & {"partners", "labels"} and not recipe.targets_on:
            raise InputError(
                f"method '{self.name}' learns from the target operations, but none "
                f"({' '.join(recipe.targets) or 'there are none'}) is switched on; name operations that are with "
                "augment.targets, such as crop jitter."
            )
        if recipe.augmix.p > 0 and self.needs & {"labels", "turned"}:
            raise InputError(
                f"method '{self.name}' predicts what was done to an image, which no label says of AugMix: it mixes "
                "chains of operations, turns among them; leave out augment.augmix.p, or choose simclr or stl."
            )


class AbstractMethod(ABC, nn.Module):
    """A method: an encoder and whatever trains it. Subclasses implement ``forward``.

    encoder:    images (b, 3, s, s) to features (b, D); the part that is kept after training.
    weights:    the weight of each loss term by its name.
    joint_pass: encode both views in one pass with common BatchNorm statistics; set by the run.
    """

    encoder: nn.Module
    weights: Mapping[str, float]
    joint_pass: bool = False

    @abstractmethod
    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, the scalar to minimise, and detached scalars to log.

        The logged scalars are the method's loss terms by name, unweighted, ``spread``, that of the features of the
        first view, and where the embedding may collapse before them ``spread_embedding``. Over several processes
        every one returns the values of the whole batch.
        """

    def after_step(self, progress: float) -> None:
        """Let the teachers follow the weights; called after every optimiser step.

        progress: share of the run that is done, in (0, 1].
        """
        for module in self.modules():
            if isinstance(module, Teacher):
                module.follow(progress)


def check_views(views: Views, *, method: str, needs: frozenset[Need] = frozenset()) -> None:
    """Raise ``InputError`` unless there are two views (2, b, 3, s, s) and what the method needs beside them.

    Partners stand in rows 2i and 2i+1, hence an even b; with several processes b is each one's share.
    """
    shape = tuple(views.images.shape)
    if len(shape) != 5 or shape[0] != 2 or shape[1] == 0 or shape[2] != 3:
        raise InputError(f"{method} needs two views of images, (2, b, 3, s, s), got {shape}.")
    if "partners" in needs and not views.partners:
        raise InputError(
            f"{method} learns from partners, images that went through the same transformations; there are none. "
            "Say in the recipe what they share, for example partners=True, targets=('crop', 'jitter')."
        )
    if "partners" in needs and shape[1] % 2:
        raise InputError(f"{method} needs an even batch of partners in every process, got {shape[1]} images.")
    if "labels" in needs and (views.params.shape[:2] != shape[:2] or views.params.shape[2] < NUMBERS):
        raise InputError(
            f"{method} learns from the numbers of both views, (2, {shape[1]}, {NUMBERS} or more), got params of the "
            f"shape {tuple(views.params.shape)}; make the views with covary.augment.make_views."
        )
    if "turned" in needs and (views.turned is None or views.turned.shape[:2] != (4, shape[1])):
        raise InputError(
            f"{method} needs an extra view in four turns, (4, {shape[1]}, 3, s', s'), got "
            f"{None if views.turned is None else tuple(views.turned.shape)}; declare it in the recipe, "
            "for example turned=TurnedView(size=16)."
        )


def encode(encoder: nn.Module, images: Tensor, *, joint_pass: bool) -> Tensor:
    """Return the features (v, b, D) of views (v, b, 3, s, s).

    One encoder pass per view, each with BatchNorm statistics of its own, or one joint pass over all of them.
    """
    if joint_pass:
        return encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    return torch.stack([encoder(view) for view in images])


@torch.no_grad()
def spread(features: Tensor) -> Tensor:
    """Return how far features (b, D) fill their space, over the batch of all processes.

    sqrt(D) times the mean over dimensions of the standard deviation of the features divided by their
    Euclidean norm: about 1 when they point everywhere, 0 when they have collapsed to one point. Source:
    SimSiam (arXiv 2011.10566) section 4.1.
    """
    directions = F.normalize(features.float(), dim=1)
    centred = directions - dist.mean_over_ranks(directions.mean(dim=0))
    deviation = dist.mean_over_ranks(centred.square().mean(dim=0)).sqrt()
    return deviation.mean() * features.shape[1] ** 0.5


def weighted(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], *, features: Tensor, embedding: Tensor | None = None
) -> dict[str, Tensor]:
    """Return what ``AbstractMethod.forward`` returns: weighted sum of the terms, terms, spreads.

    embedding: rows that may collapse before the features do, None where there are none.
    """
    loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    spreads = {"spread": spread(features)}
    if embedding is not None:
        spreads["spread_embedding"] = spread(embedding)
    return {"loss": loss, **{name: term.detach() for name, term in terms.items()}, **spreads}


def check_terms(terms: Mapping[str, Tensor], *, method: str) -> None:
    """Raise ``InputError`` unless what a method's ``forward`` returned has a scalar loss and the spread."""
    for name in ("loss", "spread"):
        if name not in terms or terms[name].ndim > 0:
            got = f"{name} of the shape {tuple(terms[name].shape)}" if name in terms else f"no {name}"
            raise InputError(
                f"method '{method}' returned {got}; its forward must return a number for loss and for spread."
            )


def refuse_unread(config: object, names: str, *, because: str) -> None:
    """Raise ``InputError`` for a field that the rest of the configuration leaves unread, unless it is the default.

    names: the fields, with spaces between them. because: what leaves them unread.
    """
    defaults = {field.name: field.default for field in fields(config)}  # pyright: ignore[reportArgumentType]
    for name in names.split():
        if getattr(config, name) != defaults[name]:
            raise InputError(f"{name} is {getattr(config, name)}, but {because}; leave it out.")


def require(config: object, names: str, *, at_least: float, above: bool = False) -> None:
    """Raise ``InputError`` for a field that is below ``at_least`` (or equals it, if ``above``) or not finite.

    names: the fields, with spaces between them; a field that is ``None`` passes.
    """
    for name in names.split():
        value = getattr(config, name)
        if value is None or (math.isfinite(value) and (value > at_least if above else value >= at_least)):
            continue
        raise InputError(f"{name} is {value}; expected {f'above {at_least}' if above else f'{at_least} or more'}.")
