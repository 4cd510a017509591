"""Bases: how far two aligned sets of rows are apart. A base alone is a method; other methods build on one."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from covary.augment import Recipe
from covary.errors import InputError
from covary.methods.abstract import AbstractConfig, AbstractMethod, check_views, encode, require, weighted
from covary.nets import Teacher, mlp
from covary.types import Views


class Dissimilarity(ABC, nn.Module):
    """How far two aligned sets of rows are apart, through heads of its own: a base on one kind of rows.

    projector: rows (n, width) to the embedding (n, d).
    """

    projector: nn.Module

    @abstractmethod
    def forward(self, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the dissimilarity of rows that belong together, a scalar, and the embeddings (parts n, d) of a.

        a, b: (parts, n, width), rows a[p, i] and b[p, i] belong together; heads run once per part, with BatchNorm
              statistics of its own. targets: a and b as the teacher of the encoder makes them, without gradient; a and
              b themselves where there is none.
        """


@dataclass(frozen=True, kw_only=True)
class Base(AbstractConfig):
    """Configuration of a base: its projector and, in subclasses, its loss.

    constant_lr:  parts whose learning rate a run keeps constant by default.
    can_collapse: whether the loss is lowest where all embeddings are alike.
    """

    constant_lr: ClassVar[tuple[str, ...]] = ()
    can_collapse: ClassVar[bool] = False

    head_layers: int
    """Linear layers of the projector."""
    head_hidden: int | None
    """Width inside the projector; None: 512 up to 512 features, else 2048 (STL paper E.1, E.2)."""
    embedding: int
    """Width of the embedding."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        require(self, "head_layers head_hidden embedding", at_least=1)

    @abstractmethod
    def dissimilarity(self, width: int, *, features: int) -> Dissimilarity:
        """Return the base for rows of ``width`` numbers, around an encoder with ``features`` outputs."""

    def projector(self, width: int, *, features: int) -> nn.Sequential:
        """Return the projector for rows of ``width`` numbers."""
        hidden = self.head_hidden or default_hidden(features)
        return mlp([width, *[hidden] * (self.head_layers - 1), self.embedding])

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> "BaseMethod":
        """Return the base as a method of its own."""
        return BaseMethod(self, encoder, features)


@dataclass(frozen=True, kw_only=True)
class TeacherBase(Base):
    """Configuration of a base whose targets come from a teacher, an exponential moving average of the networks."""

    predictor_hidden: int
    """Width inside the predictor, a head of two linear layers behind the projector."""
    momentum: float
    """Momentum of the teacher at the start; it rises to 1 along a cosine."""
    teacher: Literal["encoder", "projector"] = "encoder"
    """Copied are encoder and all networks behind it, or the projector alone (STL paper eq. 15; which is INFERRED)."""

    def __post_init__(self) -> None:
        """Raise ``InputError`` for a value out of its range."""
        super().__post_init__()
        require(self, "predictor_hidden", at_least=1)
        if not 0 <= self.momentum <= 1:
            raise InputError(f"momentum is {self.momentum}; expected a number from 0 to 1.")


class TaughtDissimilarity(Dissimilarity):
    """The dissimilarity of a base with a teacher, symmetric. Subclasses implement ``compare``.

    With the projector g, the predictor q, the teacher's projector g' and the targets a', b'::

        compare(q(g(a)), g'(b')) + compare(q(g(b)), g'(a'))
    """

    def __init__(self, config: TeacherBase, projector: nn.Module) -> None:
        super().__init__()
        self.projector = projector
        self.predictor = mlp([config.embedding, config.predictor_hidden, config.embedding])
        self.teacher = Teacher({"projector": projector}, momentum=config.momentum)

    @abstractmethod
    def compare(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return how far predicted embeddings (n, d) are from the teacher's."""

    def forward(self, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the loss and the embeddings of a."""
        with torch.no_grad():
            to_a, to_b = (each(self.teacher.networks["projector"], target) for target in targets)
        (z_a, from_a), (_, from_b) = (embed(self.projector, self.predictor, side) for side in (a, b))
        return self.compare(from_a, to_b) + self.compare(from_b, to_a), z_a


class Rows(NamedTuple):
    """What networks make of the views.

    features: (2, b, D). sides: for each term its two aligned sets of rows, (parts, n, width) each.
    """

    features: Tensor
    sides: dict[str, tuple[Tensor, Tensor]]


class Compared(NamedTuple):
    """What the base makes of the views.

    terms: the dissimilarities. features: (2, b, D). embedding: of the first term (n, d), None unless it can collapse.
    """

    terms: dict[str, Tensor]
    features: Tensor
    embedding: Tensor | None


class BasedMethod(AbstractMethod):
    """A method with terms that are dissimilarities of a base. Subclasses implement ``rows`` and ``forward``.

    networks: all between views and heads, by their attribute names, the encoder first; a teacher follows all of them.
    heads:    the dissimilarity of each such term.
    """

    def __init__(self, base: Base, *, networks: Mapping[str, nn.Module], heads: Mapping[str, Dissimilarity]) -> None:
        super().__init__()
        for name, network in networks.items():
            self.add_module(name, network)
        self.heads = nn.ModuleDict(heads)
        self.teacher: Teacher | None = None
        if isinstance(base, TeacherBase) and base.teacher == "encoder":
            self.teacher = Teacher(networks, momentum=base.momentum)
        self._names, self._can_collapse = tuple(networks), base.can_collapse

    @abstractmethod
    def rows(self, networks: Mapping[str, nn.Module], views: Views) -> Rows:
        """Return what the networks, the method's own or its teacher's, make of the views."""

    def compare(self, views: Views) -> Compared:
        """Return the terms that are dissimilarities, and what they were computed from."""
        own = self.rows({name: self.get_submodule(name) for name in self._names}, views)
        targets = own.sides
        if self.teacher is not None:
            with torch.no_grad():
                targets = self.rows(dict(self.teacher.networks.items()), views).sides
        found = {name: head(*own.sides[name], targets[name]) for name, head in self.heads.items()}
        first = next(embedding for _, embedding in found.values()) if self._can_collapse else None
        return Compared({name: term for name, (term, _) in found.items()}, own.features, first)


class InvariantMethod(BasedMethod):
    """A method whose only dissimilarity is ``inv``, that of two views' features. Subclasses implement ``forward``."""

    def __init__(self, base: Base, encoder: nn.Module, features: int) -> None:
        heads = {"inv": base.dissimilarity(features, features=features)}
        super().__init__(base, networks={"encoder": encoder}, heads=heads)

    def rows(self, networks: Mapping[str, nn.Module], views: Views) -> Rows:
        """Return the features, both as they are."""
        y = encode(networks["encoder"], views.images, joint_pass=self.joint_pass)
        return Rows(y, {"inv": (y[:1], y[1:])})


class BaseMethod(InvariantMethod):
    """A base alone: the dissimilarity of the features of two views.

    With features y_v = f(x_v) of the views v = 1, 2::

        loss = inv = dissimilarity(y_1, y_2)
    """

    def __init__(self, config: Base, encoder: nn.Module, features: int) -> None:
        super().__init__(config, encoder, features)
        self.config, self.weights = config, {"inv": 1.0}

    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, ``inv`` and the spreads."""
        check_views(views, method=self.config.name)
        terms, y, z = self.compare(views)
        return weighted(terms, self.weights, features=y[0], embedding=z)


def embed(projector: nn.Module, predictor: nn.Module, parts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the embeddings of each part (parts, n, width) and what is predicted from them, (parts n, d) each."""
    embeddings = [projector(part) for part in parts]
    return torch.cat(embeddings), torch.cat([predictor(z) for z in embeddings])


def each(network: nn.Module, parts: Tensor) -> Tensor:
    """Return what the network makes of each part (parts, n, width), below each other (parts n, out)."""
    return torch.cat([network(part) for part in parts])


def default_hidden(features: int) -> int:
    """Return the paper's width inside the heads for an encoder with ``features`` outputs.

    512 for ResNet-18 (D = 512) and 2048 for ResNet-50 (D = 2048), STL appendix E.1, E.2; encoders of other sizes take
    that of the nearer: 512 up to D = 512, 2048 above (ours).
    """
    return 512 if features <= 512 else 2048


def with_temperature(base: Base, temperature: float | None, *, name: str) -> Base:
    """Return the base with another temperature, or as it is where that is ``None``.

    Raises ``InputError``, with the option's name, where the base has none, and for one that is not positive.
    """
    if temperature is None:
        return base
    known = {field.name for field in fields(base)}
    if "temperature" not in known:
        raise InputError(f"{name} is {temperature}, but base '{base.name}' has no temperature; leave it out.")
    if not 0 < temperature < math.inf:
        raise InputError(f"{name} is {temperature}; expected above 0.")
    return replace(base, temperature=temperature)
