"""What an evaluation may ask of a method that moves features: how to say what was done, and the map that follows it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from covary.augment import Labels


@dataclass(frozen=True, kw_only=True)
class Mover:
    """The map of a method from the features of one view of an image to those of another.

    start: features (n, D) to what is moved and arrived at (n, d): the features, a part of them, or an embedding.
    move:  what was done (n, K) and the start (n, d) to the moved rows (n, d).
    embed: rows (n, d) to the embedding (n, e) in which the equivariance loss compares.
    """

    start: Callable[[Tensor], Tensor]
    move: Callable[[Tensor, Tensor], Tensor]
    embed: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class CodeMover(Mover):
    """A map that follows a code, read off the features of a pair.

    code: features (n, D) before and after to codes (n, K).
    """

    code: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class LabelMover(Mover):
    """A map that follows a label.

    labels: how the numbers of two views become the relative label (n, K).
    """

    labels: Labels


class Moves(ABC):
    """A method that learns a map of features."""

    @abstractmethod
    def mover(self) -> Mover | None:
        """Return the map, None where the configuration leaves it out."""


class ReadsCodes(ABC):
    """A method that learns to read what was done off a pair."""

    @abstractmethod
    def reader(self) -> Callable[[Tensor, Tensor], Tensor] | None:
        """Return features (n, D) before and after to codes (n, K), None where the configuration leaves it out."""


def same(rows: Tensor) -> Tensor:
    """Return the rows."""
    return rows
