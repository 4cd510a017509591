"""What there is to train for a table: the run of each row and seed, its folder, and how it differs from the paper's."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from covary import config
from covary.errors import InputError, did_you_mean
from covary.recipes import ROWS, start_run
from covary.reproduction.scales import SCALES, Scale
from covary.reproduction.tables import FIGURES, TABLES, Table
from covary.run import Run


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run of a table.

    folder: where it is trained; the same for rows of any table whose runs are equal.
    paper:  the run of the row in the paper's setting.
    """

    row: str
    seed: int
    run: Run
    paper: Run
    folder: Path


def choose_table(name: str) -> Table:
    """Return the table, or what a figure is made of, of a name; raise ``InputError`` unless it is known."""
    known = {**TABLES, **FIGURES}
    return known[_known("table", name, known)]


def choose_scale(name: str) -> Scale:
    """Return the scale of a name; raise ``InputError`` unless it is known."""
    return SCALES[_known("scale", name, SCALES)]


def choose_rows(wanted: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """Return the rows asked for, None meaning all, in the paper's order; raise ``InputError`` for an unknown one."""
    if wanted is None:
        return tuple(known)
    if not wanted:
        raise InputError(f"No row is named; expected some of {', '.join(known)}.")
    for row in wanted:
        _known("row", row, known)
    return tuple(row for row in known if row in wanted)


def choose_seeds(seeds: int | None, *, scale: Scale, table: Table) -> int:
    """Return the number of seeds: the paper's, at most the scale's, where none is asked for."""
    if seeds is None:
        return min(table.seeds, scale.seeds)
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; expected 1 or more.")
    return seeds


def plan(
    table: Table,
    scale: Scale,
    *,
    rows: Sequence[str],
    seeds: int,
    data: str | None,
    epochs: int | None,
    out: Path,
) -> list[Planned]:
    """Return the runs of a table, seed by seed within a row.

    data, epochs: replace those of the scale's setting.
    """
    setting = scale.settings[table.setting]
    planned = []
    for row in rows:
        paper, run = start_run(recipe=f"{table.setting}/{row}"), start_run(recipe=f"{setting}/{row}", data=data)
        run = run if epochs is None else replace(run, epochs=epochs)
        planned += [
            Planned(
                row=row,
                seed=seed,
                run=replace(run, seed=seed),
                paper=replace(paper, seed=seed),
                folder=out / "runs" / setting / first_of_equals(row) / f"seed-{seed}",
            )
            for seed in range(seeds)
        ]
    return planned


@cache
def first_of_equals(row: str) -> str:
    """Return the first row of ``covary.recipes.ROWS`` whose run equals this row's: a run is trained once."""
    run = start_run(recipe=f"demo/{row}")
    return next(name for name in ROWS if start_run(recipe=f"demo/{name}") == run)


def deviations(planned: Sequence[Planned]) -> list[str]:
    """Return a line for each value in which the runs differ from the paper's setting.

    A line that does not hold for all rows begins with the names of those for which it does.
    """
    rows = {each.row for each in planned}
    holders: dict[str, list[str]] = {}
    for each in planned:
        for line in config.differences(config.to_json(each.paper), config.to_json(each.run)):
            holders.setdefault(line, []).append(each.row)
    return [
        line if set(held) == rows else f"{', '.join(dict.fromkeys(held))}: {line}" for line, held in holders.items()
    ]


def _known(what: str, name: str, names: Iterable[str]) -> str:
    known = tuple(names)
    if name not in known:
        raise InputError(f"{what} '{name}' is unknown; expected one of {', '.join(known)}.{did_you_mean(name, known)}")
    return name
