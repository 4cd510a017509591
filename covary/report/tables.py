"""Values of several runs side by side."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from covary.report.blocks import Cell, Row, Table
from covary.report.read import RunFiles

ABSENT = "–"


def compared(
    title: str, runs: Sequence[RunFiles], values: Sequence[Mapping[str, Any]], *, folded: bool = False
) -> Table:
    """Return a table with a line for each name and a column for each run; lines that differ are marked."""
    rows = []
    for name in dict.fromkeys(name for each in values for name in each):
        cells = tuple(shown(each[name]) if name in each else Cell(text=ABSENT) for each in values)
        rows.append(Row(cells=(Cell(text=name), *cells), differs=len({cell.text for cell in cells}) > 1))
    return Table(title=title, head=(Cell(text=""), *heads(runs)), rows=tuple(rows), folded=folded)


def differing(table: Table, *, title: str) -> Table:
    """Return the lines of a table in which the runs differ."""
    return Table(title=title, head=table.head, rows=tuple(row for row in table.rows if row.differs))


def heads(runs: Iterable[RunFiles]) -> list[Cell]:
    """Return the head cells of the runs' columns."""
    return [Cell(text=run.name, run=index, number=True) for index, run in enumerate(runs)]


def shown(value: Any) -> Cell:
    """Return a cell for a JSON value: numbers rounded with all digits behind them, lists with commas."""
    if isinstance(value, bool):
        return Cell(text="yes" if value else "no", number=True)
    if isinstance(value, int | float):
        return Cell(text=number(value), number=True, exact=repr(value))
    return Cell(text=_words(value), number=True)


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
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
