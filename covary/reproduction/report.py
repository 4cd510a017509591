"""A table made again: our numbers, the paper's beside them, and everything that they depend on."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from covary.reproduction.measuring import UNTRAINED, Measured
from covary.reproduction.paper import Numbers, Printed
from covary.reproduction.tables import Column

OURS, PAPER = "ours", "paper"
PROBES = {"": OURS, "mlp.": "ours, MLP probe", "code.": "ours, from the code alone"}
"""What the beginnings of metrics' names stand for: other numbers that a task gives of the same encoder."""
CHANCE = "chance"
LEAST_ROWS = 3  # whose order can be compared


@dataclass(frozen=True, kw_only=True)
class Number:
    """A mean over seeds; its standard deviation (of the sample, n − 1) where there are several."""

    value: float
    std: float | None
    seeds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a table: whose numbers of which row, by the name of their column."""

    row: str
    whose: str
    numbers: Mapping[str, Number | Printed]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A table made again.

    facts:      what scale, images, encoder, machine, versions and time the numbers come from.
    lines:      of each row, ours and the paper's; then those of untrained weights and of chance.
    order:      Spearman's correlation of our rows with the paper's, by column.
    deviations: where the runs and their measurement differ from the paper's.
    notes:      what a reader must know.
    protocols:  how each number was measured.
    """

    table: str
    title: str
    scale: str
    facts: Mapping[str, str]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    order: Mapping[str, float]
    deviations: tuple[str, ...]
    notes: tuple[str, ...]
    protocols: tuple[str, ...]


def lines_of(measured: Sequence[Measured], columns: Sequence[Column], paper: Numbers) -> tuple[Line, ...]:
    """Return the lines of a table: of each row those of ``PROBES`` that it has, and the paper's; then the baselines."""
    lines = []
    for row in dict.fromkeys(each.row for each in measured if each.row != UNTRAINED):
        lines += _ours(row, [each for each in measured if each.row == row], columns)
        if row in paper:
            printed = {c.name: paper[row][c.paper] for c in columns if c.paper is not None and c.paper in paper[row]}
            lines.append(Line(row=row, whose=PAPER, numbers=printed))
    if untrained := [each for each in measured if each.row == UNTRAINED]:
        lines += _ours(UNTRAINED, untrained, columns)
    chance = {column.name: number for column in columns if (number := _chance(measured, column)) is not None}
    return (*lines, Line(row=CHANCE, whose=OURS, numbers=chance)) if chance else tuple(lines)


def order_of(lines: Iterable[Line], columns: Iterable[Column]) -> dict[str, float]:
    """Return Spearman's correlation of ours with the paper's over the rows that have both, by column.

    Columns with fewer than ``LEAST_ROWS`` such rows, or in which either has all rows equal, have none.
    """
    found = {}
    lines = tuple(lines)
    for column in columns:
        values = {
            whose: {
                line.row: line.numbers[column.name].value
                for line in lines
                if line.whose == whose and column.name in line.numbers
            }
            for whose in (OURS, PAPER)
        }
        rows = [row for row in values[PAPER] if row in values[OURS]]
        pairs = np.array([[values[whose][row] for row in rows] for whose in (OURS, PAPER)])
        if len(rows) >= LEAST_ROWS and (np.ptp(pairs, axis=1) > 0).all():
            found[column.name] = spearman(*pairs)
    return found


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of two arrays (n,): Pearson's of their ranks, equals sharing the mean rank."""
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many values each is not below, an equal one counted half: ranks up to a constant."""
    return (values[:, None] > values).sum(axis=1) + (values[:, None] == values).sum(axis=1) / 2


def _ours(row: str, measured: Sequence[Measured], columns: Sequence[Column]) -> list[Line]:
    lines = []
    for prefix, whose in PROBES.items():
        shown = [c for c in columns if not (prefix or c.optional) or _has(measured, c, prefix)]
        if shown:
            numbers = {column.name: _number(measured, column, prefix) for column in shown}
            lines.append(Line(row=row, whose=whose, numbers=numbers))
    return lines


def _has(measured: Sequence[Measured], column: Column, prefix: str) -> bool:
    """Return whether every encoder has all measurements of a column under a prefix."""
    return all(prefix + m.metric in each.results[m.task, m.data].metrics for each in measured for m in column.measured)


def _number(measured: Sequence[Measured], column: Column, prefix: str) -> Number:
    """Return the mean over seeds of a column, itself the mean of its measurements."""
    seeds = [
        statistics.fmean(each.results[m.task, m.data].metrics[prefix + m.metric] for m in column.measured)
        for each in measured
    ]
    return _over_seeds(seeds, column)


def _chance(measured: Sequence[Measured], column: Column) -> Number | None:
    """Return the mean over encoders of what a guess reaches; None where the task does not say."""
    values = [
        value
        for each in measured
        for m in column.measured
        if m.chance is not None and (value := each.results[m.task, m.data].metrics.get(m.chance)) is not None
    ]
    return _over_seeds([statistics.fmean(values)], column) if values else None


def _over_seeds(values: Sequence[float], column: Column) -> Number:
    shown = tuple(100 * value if column.percent else value for value in values)
    return Number(value=statistics.fmean(shown), std=statistics.stdev(shown) if len(shown) > 1 else None, seeds=shown)
