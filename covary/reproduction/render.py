"""A report as Markdown and as one HTML page: no script, nothing loaded, light and dark."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from covary.reproduction.measuring import UNTRAINED
from covary.reproduction.paper import Printed
from covary.reproduction.report import CHANCE, OURS, PAPER, Line, Number, Report
from covary.reproduction.tables import Column

ABSENT = "–"
PAPER_DIGITS = 2  # the paper prints every number with two decimals

STYLE = """
:root { color-scheme: light dark; --line: #ccd2d9; --soft: #5b6570; --band: #f3f5f7; --ink: #16191d; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3a424b; --soft: #a3adb8; --band: #1c2126; --ink: #e6e9ec; --page: #121518; }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid var(--line); font-weight: 600; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.first td { border-top: 1px solid var(--line); }
tr.paper td { color: var(--soft); } tr.reference td { background: var(--band); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; }
img { max-width: 100%; background: #fff; }
li { overflow-wrap: anywhere; }
"""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A number as shown; ``best`` of its column among ours or among the paper's."""

    text: str
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class GridLine:
    """A line as shown; ``kind`` is ours, paper or reference, ``first`` the first of its row."""

    row: str
    whose: str
    kind: str
    first: bool
    cells: tuple[Cell, ...]


def grid(report: Report) -> list[GridLine]:
    """Return the lines of a report as shown, the order of rows last."""
    lines = []
    for index, line in enumerate(report.lines):
        reference = line.row in (UNTRAINED, CHANCE)
        lines.append(
            GridLine(
                row=line.row,
                whose="" if reference and line.whose == OURS else line.whose,
                kind="reference" if reference else ("paper" if line.whose == PAPER else "ours"),
                first=index == 0 or report.lines[index - 1].row != line.row,
                cells=tuple(_cell(report, line, column) for column in report.columns),
            )
        )
    if report.order:
        cells = tuple(
            Cell(text=f"{report.order[column.name]:.2f}" if column.name in report.order else ABSENT)
            for column in report.columns
        )
        lines.append(GridLine(row="order of rows", whose="Spearman", kind="reference", first=True, cells=cells))
    return lines


def markdown(report: Report, *, picture: Path | None = None) -> str:
    """Return the report as Markdown, which shows a picture that lies beside it."""
    head = ["row", "", *(column.name for column in report.columns)]
    rows = [
        [line.row if line.first else "", line.whose, *(f"**{c.text}**" if c.best else c.text for c in line.cells)]
        for line in _escaped(grid(report))
    ]
    table = [
        _pipes([_plain(name) for name in head]),
        _pipes(["---", "---", *["--:"] * len(report.columns)]),
        *map(_pipes, rows),
    ]
    parts = [
        f"# {_plain(_heading(report))}",
        "\n".join(f"- {_plain(name)}: {_plain(value)}" for name, value in report.facts.items()),
        *([f"![{_plain(report.title)}]({picture.name})"] if picture else []),
        "\n".join(table),
        *(
            f"## {title}\n\n" + "\n".join(f"- {_plain(line)}" for line in lines)
            for title, lines in _sections(report)
            if lines
        ),
    ]
    return "\n\n".join(parts) + "\n"


def page(report: Report, *, picture: Path | None = None) -> str:
    """Return the report as an HTML page, which holds the picture."""
    e = html.escape
    head = "".join(f"<th>{e(name)}</th>" for name in ("row", "", *(column.name for column in report.columns)))
    body = "\n".join(_table_row(line) for line in grid(report))
    facts = "".join(f"<dt>{e(name)}</dt><dd>{e(value)}</dd>" for name, value in report.facts.items())
    shown = f'<img src="{_embedded(picture)}" alt="{e(report.title)}">\n' if picture else ""
    sections = "\n".join(
        f"<h2>{e(title)}</h2>\n<ul>{''.join(f'<li>{e(line)}</li>' for line in lines)}</ul>"
        for title, lines in _sections(report)
        if lines
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{e(_heading(report))}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{e(_heading(report))}</h1>\n<dl>{facts}</dl>\n{shown}"
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'
        f"{sections}\n</body>\n</html>\n"
    )


def _table_row(line: GridLine) -> str:
    e = html.escape
    names = f"<td>{e(line.row) if line.first else ''}</td><td>{e(line.whose)}</td>"
    cells = "".join(f"<td>{f'<b>{e(c.text)}</b>' if c.best else e(c.text)}</td>" for c in line.cells)
    return f'<tr class="{line.kind}{" first" * line.first}">{names}{cells}</tr>'


def _embedded(picture: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _heading(report: Report) -> str:
    return f"{report.table} at scale {report.scale}: {report.title}"


def _sections(report: Report) -> Sequence[tuple[str, Sequence[str]]]:
    return (
        ("Notes", report.notes),
        ("Where this differs from the paper", report.deviations),
        ("Protocols", report.protocols),
    )


def _cell(report: Report, line: Line, column: Column) -> Cell:
    number = line.numbers.get(column.name)
    if number is None:
        return Cell(text=ABSENT)
    return Cell(text=_text(number, column), best=_is_best(report.lines, line, column))


def _text(number: Number | Printed, column: Column) -> str:
    digits = PAPER_DIGITS if isinstance(number, Printed) else column.digits
    spread = "" if number.std is None else f" ± {number.std:.{digits}f}"
    return f"{number.value:.{digits}f}{spread}"


def _is_best(lines: Sequence[Line], line: Line, column: Column) -> bool:
    """Return whether a number, as printed, is the best of its column among those of the same origin."""
    rivals = [
        other.numbers[column.name].value
        for other in lines
        if other.whose == line.whose and other.row not in (UNTRAINED, CHANCE) and column.name in other.numbers
    ]
    if line.row in (UNTRAINED, CHANCE) or len(rivals) < 2:
        return False
    best = max(rivals) if column.best == "high" else min(rivals)
    digits = PAPER_DIGITS if line.whose == PAPER else column.digits
    return round(line.numbers[column.name].value, digits) == round(best, digits)


def _escaped(lines: Sequence[GridLine]) -> list[GridLine]:
    return [
        GridLine(row=_plain(each.row), whose=_plain(each.whose), kind=each.kind, first=each.first, cells=each.cells)
        for each in lines
    ]


def _plain(text: str) -> str:
    """Return a text as Markdown that shows it as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<|#~&])", r"\\\1", " ".join(text.split()))


def _pipes(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
