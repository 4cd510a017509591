"""``covary reproduce``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary.cli.parse import parse, peek
from covary.evaluation import Options as TaskOptions
from covary.reproduction import SCALES, TABLES, reproduce
from covary.reproduction.plan import choose_scale
from covary.reproduction.render import markdown
from covary.reproduction.tables import FIGURES


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary reproduce``."""

    table: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TABLE")]
    """A table or figure of the paper, such as table5 or figure1."""
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
    """Make a table, tell each stage in a line, print the table; return the exit code."""
    scale = peek(argv, "--scale") or "demo"
    options = parse(
        Options,
        argv,
        prog="covary reproduce",
        description="Make a table or figure of the paper again. "
        f"Known: {', '.join((*TABLES, *FIGURES))}. Scales: {', '.join(SCALES)}.",
        default=Options(table=tyro.MISSING, out=tyro.MISSING, scale=scale, options=choose_scale(scale).options),
    )
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
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(markdown(report))
    return 0
