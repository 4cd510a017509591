"""``covary reproduce``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary.cli.parse import parse, peek
from covary.errors import InputError
from covary.evaluation import Options as TaskOptions
from covary.reproduction import FIGURES, SCALES, TABLES, reproduce, reproduce_figure
from covary.reproduction.plan import choose_scale, choose_table
from covary.reproduction.render import markdown


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary reproduce``."""

    table: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TABLE")]
    """A table or figure of the paper, such as table5."""
    out: Path
    """Folder of runs, results and tables; what is there already is not done again."""
    scale: str = "demo"
    """demo (embedded images, minutes on a CPU), small (the size of CIFAR-10) or paper (its full setting)."""
    data: str | None = None
    """Images to train on and to measure in-domain; by default the scale's."""
    sets: tuple[str, ...] | None = None
    """Sets of other images to measure on; by default the scale's."""
    detection: str | None = None
    """Images with boxes for table4: a folder in VOC layout."""
    rows: tuple[str, ...] | None = None
    """Some of the table's rows; by default all."""
    seeds: int | None = None
    """Seeds of each row; by default as many as the paper has, one at scale demo."""
    epochs: int | None = None
    """Epochs of each run; by default the setting's."""
    options: Annotated[TaskOptions, tyro.conf.arg(name="")] = TaskOptions()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the GPU where there is one."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""


def main(argv: Sequence[str]) -> int:
    """Make a table or figure, tell each stage in a line, print its numbers; return the exit code."""
    scale = peek(argv, "--scale") or "demo"
    options = parse(
        Options,
        argv,
        prog="covary reproduce",
        description="Make a table or figure of the paper again. "
        f"Tables and figures: {', '.join([*TABLES, *FIGURES])}. Scales: {', '.join(SCALES)}.",
        default=Options(table=tyro.MISSING, out=tyro.MISSING, scale=scale, options=choose_scale(scale).options),
    )
    if choose_table(options.table, [*TABLES, *FIGURES]) in FIGURES:
        return _figure(options)
    report = reproduce(
        options.table,
        out=options.out,
        scale=options.scale,
        data=options.data,
        sets=options.sets,
        detection=options.detection,
        rows=options.rows,
        seeds=options.seeds,
        epochs=options.epochs,
        options=options.options,
        device=options.device,
        root=options.root,
        cache=options.cache,
        say=_say,
    )
    print(markdown(report))
    return 0


def _figure(options: Options) -> int:
    """Make a figure, print the numbers of its maps; return the exit code."""
    for name in ("sets", "detection", "rows", "seeds"):
        if getattr(options, name) is not None:
            raise InputError(f"{options.table} has no use for {name}; leave it out.")
    figure = reproduce_figure(
        options.table,
        out=options.out,
        scale=options.scale,
        data=options.data,
        epochs=options.epochs,
        device=options.device,
        root=options.root,
        cache=options.cache,
        say=_say,
    )
    for each in figure.maps:
        print(
            f"{each.title}: {each.rows} pairs, silhouette {each.silhouette:.3f} ({each.flat_silhouette:.3f} in the "
            f"map), trustworthiness of the {each.method} map {each.trustworthiness:.3f}"
        )
    print(options.out / f"{options.table}.png")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
