"""The section of results: each task on each SPEC, runs side by side, with what a guess reaches."""

from collections.abc import Iterable, Mapping, Sequence

from covary.evaluation.result import Result
from covary.evaluation.tasks import TASKS
from covary.report.blocks import Block, Cell, Row, Section, Table, Text
from covary.report.read import RunFiles
from covary.report.tables import ABSENT, number, rounded

UNTRAINED = "untrained:"
CHANCE, BASELINE = "chance", "baseline"
PROBES = ("mlp.", "code.")
"""Beginnings of metrics' names that another measurement of the same thing has."""


def results(runs: Sequence[RunFiles]) -> Section:
    """Return a table of headline numbers and one of all numbers for each task and SPEC."""
    found = sorted({(result.task, result.data) for run in runs for result in run.results})
    blocks: list[Block] = []
    for task, data in found:
        columns = _columns(runs, task, data)
        blocks += _tables(f"{task} on {data}", task, columns)
    return Section(title="Results", blocks=tuple(blocks) or (Text(words="Nothing has been measured yet."),))


def reference(name: str, metrics: Mapping[str, float]) -> float | None:
    """Return what a guess reaches in a metric ``a.b``, where the result says: ``a.chance.b``, or ``baseline.a.b``."""
    group, dot, last = name.rpartition(".")
    plain = next((name.removeprefix(probe) for probe in PROBES if name.startswith(probe)), name)
    places = (f"{group}{dot}{CHANCE}.{last}", f"{BASELINE}.{plain}")
    return next((metrics[place] for place in places if place in metrics), None)


def _columns(runs: Sequence[RunFiles], task: str, data: str) -> list[tuple[Cell, Result]]:
    """Return head cell and result of each run, those of untrained weights behind the run's own."""
    columns = []
    for index, run in enumerate(runs):
        mine = [result for result in run.results if (result.task, result.data) == (task, data)]
        for result in sorted(mine, key=_is_untrained):
            name = f"{run.name}, untrained" if _is_untrained(result) else run.name
            columns.append((Cell(text=name, run=index, number=True), result))
    return columns


def _is_untrained(result: Result) -> bool:
    return result.source.startswith(UNTRAINED)


def _tables(title: str, task: str, columns: Sequence[tuple[Cell, Result]]) -> list[Block]:
    """Return the task's headline numbers, how they came about and, folded, all of its numbers."""
    names = list(dict.fromkeys(name for _, result in columns for name in result.metrics if not _is_reference(name)))
    headline = [name for name in (TASKS[task].headline if task in TASKS else ()) if name in names]
    protocols: dict[str, list[str]] = {}
    for head, result in columns:
        protocols.setdefault(result.protocol, []).append(head.text)
    said = [
        Text(words=protocol if len(protocols) == 1 else f"{', '.join(whose)}: {protocol}")
        for protocol, whose in protocols.items()
    ]
    rest = [_table("All numbers", names, columns, folded=True)] if headline and headline != names else []
    return [_table(title, headline or names, columns), *rest, *said]


def _is_reference(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == BASELINE or (len(parts) > 1 and parts[-2] == CHANCE)


def _table(title: str, names: Iterable[str], columns: Sequence[tuple[Cell, Result]], *, folded: bool = False) -> Table:
    """Return a line for each metric; a last column tells what a guess reaches, where a result says."""
    rows = [
        Row(
            cells=(
                Cell(text=name),
                *(rounded(result.metrics.get(name)) for _, result in columns),
                _guess(name, columns),
            )
        )
        for name in names
    ]
    head = (Cell(text=""), *(head for head, _ in columns), Cell(text="chance or baseline", number=True))
    if all(row.cells[-1].text == ABSENT for row in rows):
        head, rows = head[:-1], [Row(cells=row.cells[:-1]) for row in rows]
    return Table(title=title, head=head, rows=tuple(rows), folded=folded)


def _guess(name: str, columns: Sequence[tuple[Cell, Result]]) -> Cell:
    """Return a cell of what a guess reaches: a number, or two where it depends on the features."""
    values = sorted({v for _, result in columns if (v := reference(name, result.metrics)) is not None})
    if len({number(value) for value in values}) < 2:
        return rounded(values[0] if values else None)
    return Cell(text=f"{number(values[0])} to {number(values[-1])}", number=True)
