"""The numbers of a transformation, coded as labels: what methods that are told the transformation learn from.

Coding after AugSelf (arXiv 2111.09613), whose code has labels of crop, flip, jitter and blur, and STL (arXiv
2501.08712) appendix D, which names grayscale too. INFERRED, as neither states it: the scale of STL's labels, taken
from AugSelf's code (STL quotes other ranges); blur divided by its largest standard deviation, where AugSelf leaves it
in pixels, beyond the reach of the tanh of its own head; quarter turns, rotation and solarize, which neither uses.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

import torch
from torch import Tensor

from covary.augment.recipe import COLUMNS, Name, Recipe
from covary.errors import InputError

BINARY: frozenset[Name] = frozenset({"flip", "grayscale", "solarize"})

Range = tuple[float, float]


@final
@dataclass(frozen=True)
class Labels:
    """Labels of the recipe's targets that are switched on, in the order in which they are applied.

    Absolute labels are those of one view, in the frame of the image before it is turned or rotated::

        crop.center_y, .center_x   0 to 1         centre of the box / H, W; 1 - centre / W where the view is mirrored
        crop.height, .width        0 to 1         sides of the box / H, W
        flip                       0, 1           1 = mirrored
        quarter_turn.cos, .sin     -1, 0, 1       cosine and sine of the turn, counterclockwise
        rotation                   -1/2 to 1/2    angle / (2 degrees), counterclockwise; 0 where not rotated
        jitter.brightness,         -1/2 to 1/2 *  (factor - 1) / (largest - smallest factor); 0 where not jittered
        .contrast, .saturation
        jitter.hue                 -1/2 to 1/2    shift / (2 hue); 0 where not jittered
        grayscale                  0, 1           1 = gray
        blur                       0 to 1         standard deviation / the largest; 0 where not blurred
        solarize                   0, 1           1 = solarized

        * with a reach r above 1 the smallest factor is 0: -1 / (1 + r) to r / (1 + r)

    A relative label is what leads from one view to another: the difference target - source of their numbers (-1 to 1),
    1 where they differ in a yes/no operation and 0 where not, cosine and sine of the difference of their turns.
    Exchanging the two views changes the sign of all but yes/no labels and cosines.

    An operation is switched on where its probability is above 0; a jitter factor, a hue or a rotation whose reach is
    0 has no number. The order of the jitter's operations is no label, nor is anything of AugMix, which STL
    calls incompatible with labels. Whether the recipe has partners plays no role.

    A number that is NaN makes every label that depends on it NaN.

    Raises ``InputError`` where no target is switched on.
    """

    recipe: Recipe

    def __post_init__(self) -> None:
        if not self.names:
            raise InputError(
                f"Nothing to label: no target ({' '.join(self.recipe.targets) or 'there are none'}) is switched on; "
                "name operations that are, such as crop jitter."
            )

    @property
    def groups(self) -> Mapping[Name, slice]:
        """Operation to the places of its numbers."""
        ends = itertools.accumulate(map(len, self._numbers.values()))
        return {
            name: slice(end - len(numbers), end)
            for (name, numbers), end in zip(self._numbers.items(), ends, strict=True)
        }

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each number, such as ``crop.center_y`` or ``flip``."""
        return tuple(
            f"{name}.{number.part}" if number.part else name
            for name, numbers in self._numbers.items()
            for number in numbers
        )

    @property
    def width(self) -> int:
        """How many numbers a label has."""
        return len(self.names)

    @property
    def binary(self) -> frozenset[Name]:
        """Operations with a yes/no label: flip, grayscale and solarize, as far as they have one."""
        return BINARY & self.groups.keys()

    @property
    def ranges_absolute(self) -> tuple[Range, ...]:
        """Bounds of each number of an absolute label."""
        return tuple(number.range for numbers in self._numbers.values() for number in numbers)

    @property
    def ranges_relative(self) -> tuple[Range, ...]:
        """Bounds of each number of a relative label."""
        return tuple(
            number.range if name in BETWEEN else (number.range[0] - number.range[1], number.range[1] - number.range[0])
            for name, numbers in self._numbers.items()
            for number in numbers
        )

    def absolute(self, params: Tensor) -> Tensor:
        """Return the labels of views, float (..., width).

        params: float (..., P), how each view was made, columns as in ``recipe.COLUMNS``.
        """
        columns = {name: params[..., column].unbind(-1) for name, column in COLUMNS.items()}
        return torch.stack([n.read(columns) for numbers in self._numbers.values() for n in numbers], dim=-1)

    def relative(self, source: Tensor, target: Tensor) -> Tensor:
        """Return the labels of what leads from the source views to the target views, float (..., width).

        source, target: float (..., P), how each view was made, columns as in ``recipe.COLUMNS``.
        """
        before, after = self.absolute(source), self.absolute(target)
        parts = [
            BETWEEN.get(name, torch.sub)(after[..., part], before[..., part]) for name, part in self.groups.items()
        ]
        return torch.cat(parts, dim=-1)

    @property
    def _numbers(self) -> dict[Name, tuple["_Number", ...]]:
        """Operation to its numbers, for operations that are targets and have any."""
        numbers: dict[Name, tuple[_Number, ...]] = {
            name: tuple(code(self.recipe)) for name, code in CODES.items() if name in self.recipe.targets
        }
        return {name: some for name, some in numbers.items() if some}


Columns = Mapping[str, tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class _Number:
    """One number of an absolute label.

    part:  what it says of its operation; empty where the operation has one number.
    range: its bounds.
    read:  computes it from the columns of the params.
    """

    part: str = ""
    range: Range
    read: Callable[[Columns], Tensor]


def _crop(recipe: Recipe) -> Iterator[_Number]:
    def center_x(columns: Columns) -> Tensor:
        _, left, _, width = columns["crop"]
        center = left + width / 2
        return torch.lerp(center, 1 - center, columns["flip"][0])

    yield _Number(part="center_y", range=(0, 1), read=lambda c: c["crop"][0] + c["crop"][2] / 2)
    yield _Number(part="center_x", range=(0, 1), read=center_x)
    yield _Number(part="height", range=(0, 1), read=lambda c: c["crop"][2])
    yield _Number(part="width", range=(0, 1), read=lambda c: c["crop"][3])


def _flip(recipe: Recipe) -> Iterator[_Number]:
    if recipe.flip > 0:
        yield _Number(range=(0, 1), read=lambda c: c["flip"][0])


def _quarter_turn(recipe: Recipe) -> Iterator[_Number]:
    if recipe.quarter_turns > 0:
        yield _Number(part="cos", range=(-1, 1), read=lambda c: (c["turn"][0] * (torch.pi / 2)).cos().round())
        yield _Number(part="sin", range=(-1, 1), read=lambda c: (c["turn"][0] * (torch.pi / 2)).sin().round())


def _rotation(recipe: Recipe) -> Iterator[_Number]:
    degrees = recipe.rotation.degrees
    if recipe.rotation.p > 0 and degrees > 0:
        yield _Number(range=(-0.5, 0.5), read=lambda c: c["angle"][0] / (2 * degrees))


def _jitter(recipe: Recipe) -> Iterator[_Number]:
    jitter = recipe.jitter
    if jitter.p == 0:
        return
    for factor in ("brightness", "contrast", "saturation"):
        reach = getattr(jitter, factor)
        if reach > 0:
            below = min(reach, 1)
            span = below + reach
            yield _Number(
                part=factor,
                range=(-below / span, reach / span),
                read=lambda c, factor=factor, span=span: (c[factor][0] - 1) / span,
            )
    if jitter.hue > 0:
        yield _Number(part="hue", range=(-0.5, 0.5), read=lambda c: c["hue"][0] / (2 * jitter.hue))


def _grayscale(recipe: Recipe) -> Iterator[_Number]:
    if recipe.grayscale > 0:
        yield _Number(range=(0, 1), read=lambda c: c["grayscale"][0])


def _blur(recipe: Recipe) -> Iterator[_Number]:
    largest = recipe.blur.sigma[1]
    if recipe.blur.p > 0:
        yield _Number(range=(0, 1), read=lambda c: c["blur"][0] / largest)


def _solarize(recipe: Recipe) -> Iterator[_Number]:
    if recipe.solarize.p > 0:
        yield _Number(range=(0, 1), read=lambda c: (1 - c["solarize"][0]).ceil())  # 1 = not solarized; keeps NaN


CODES: Mapping[Name, Callable[[Recipe], Iterator[_Number]]] = MappingProxyType(
    {
        "crop": _crop,
        "flip": _flip,
        "quarter_turn": _quarter_turn,
        "rotation": _rotation,
        "jitter": _jitter,
        "grayscale": _grayscale,
        "blur": _blur,
        "solarize": _solarize,
    }
)


def _differ(after: Tensor, before: Tensor) -> Tensor:
    return (after - before).abs()


def _turn_between(after: Tensor, before: Tensor) -> Tensor:
    """Return cosine and sine of the angle from one direction to the other, (..., 2) each."""
    (cos_a, sin_a), (cos_b, sin_b) = after.unbind(-1), before.unbind(-1)
    return torch.stack([cos_a * cos_b + sin_a * sin_b, sin_a * cos_b - cos_a * sin_b], dim=-1)


BETWEEN: Mapping[Name, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {**dict.fromkeys(BINARY, _differ), "quarter_turn": _turn_between}
)
