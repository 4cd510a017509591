"""Values of several runs side by side."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from covary.report.blocks import Cell, Row, Table
from covary.report.read import RunFiles

ABSENT = "–"


def compared(
    title: str,
    runs: Sequence[RunFiles],
    values: Sequence[Mapping[str, Any]],
    *,
    mark: bool = True,
    folded: bool = False,
) -> Table:
    """Return a table with a line for each name and a column for each run; lines that differ are marked if ``mark``."""
    rows = []
    names = list(dict.fromkeys(name for each in values for name in each))
    groups = list(dict.fromkeys(name.partition(".")[0] for name in names))
    for name in sorted(names, key=lambda name: groups.index(name.partition(".")[0])):
        cells = tuple(shown(each[name]) if name in each else Cell(text=ABSENT, number=True) for each in values)
        differs = mark and len({(name in each, repr(each.get(name))) for each in values}) > 1
        rows.append(Row(cells=(Cell(text=name), *cells), differs=differs))
    return Table(title=title, head=(Cell(text=""), *heads(runs)), rows=tuple(rows), folded=folded)


def differing(table: Table, *, title: str) -> Table:
    """Return the lines of a table in which the runs differ."""
    return Table(title=title, head=table.head, rows=tuple(row for row in table.rows if row.differs))


def heads(runs: Iterable[RunFiles]) -> list[Cell]:
    """Return the head cells of the runs' columns."""
    return [Cell(text=run.name, run=index, number=True) for index, run in enumerate(runs)]


def shown(value: Any) -> Cell:
    """Return a cell for a JSON value of a configuration."""
    return Cell(text=_words(value), number=True)


def rounded(value: float | None) -> Cell:
    """Return a cell for a measured number: rounded, with all digits behind it."""
    return Cell(text=ABSENT, number=True) if value is None else Cell(text=number(value), number=True, exact=repr(value))


def number(value: float) -> str:
    """Return a number as it is read: whole ones whole, others with four digits after the point or four that count."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value) or value == int(value):
        return f"{value:g}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 100 else f"{value:.4g}"


def _words(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
