"""What a part of the bench found: lines to read, and the seconds that they were computed from."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles of repeated measurements (inclusive method; all three equal for a single one)."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of one or more values."""
        if len(values) == 1:
            return cls(median=values[0], low=values[0], high=values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a number is to reach."""

    sense: Literal["at least", "at most"]
    bound: float

    def met(self, value: float) -> bool:
        """Return whether a value reaches it."""
        return value >= self.bound if self.sense == "at least" else value <= self.bound


@dataclass(frozen=True, kw_only=True)
class Line:
    """A number by name.

    unit: images/s, ms, s, MB, or "" for a ratio.
    goal: None where nothing is asked of it.
    """

    name: str
    unit: str
    spread: Spread
    goal: Goal | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a part found.

    lines:   in the order to be read.
    seconds: what was timed, by name: seconds of a step (of a job, where the part says so), one a round; the rounds of
             all names are the same, in turn.
    notes:   what could not be measured, and why.
    """

    lines: tuple[Line, ...] = ()
    seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def line(name: str, unit: str, values: Sequence[float], goal: Goal | None = None) -> Line:
    """Return the line of repeated measurements."""
    return Line(name=name, unit=unit, spread=Spread.of(values), goal=goal)


def rate(name: str, images: int, seconds: Sequence[float]) -> Line:
    """Return the line of images a second, of steps of so many images."""
    return line(name, "images/s", [images / each for each in seconds])


def milliseconds(name: str, seconds: Sequence[float]) -> Line:
    """Return the line of a time in milliseconds."""
    return line(name, "ms", [1000 * each for each in seconds])


def ratio(name: str, above: Sequence[float], below: Sequence[float], goal: Goal | None = None) -> Line:
    """Return the line of the ratios of two measurements, round by round, so that a busy moment meets both."""
    return line(name, "", [a / b for a, b in zip(above, below, strict=True)], goal)
