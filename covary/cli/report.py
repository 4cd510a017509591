"""``covary report``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary.cli.parse import parse
from covary.report import report


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary report``."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Run folders, finished or not, or result files of covary evaluate --out; several are shown side by side."""
    out: Path
    """The page: one HTML file that needs nothing beside it."""
    figures: Path | None = None
    """Folder for the pictures as SVG files; without it, none are written."""
    data: str | None = None
    """Images (SPEC, as for pretrain) to show the finished runs on: orbits, neighbours, transformation codes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute these; auto takes the GPU where there is one."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""


def main(argv: Sequence[str]) -> int:
    """Write the page, print where it is; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary report",
        description="Show what runs did as one HTML page: settings, curves, pictures, results, runs side by side.",
    )
    page = report(
        options.runs,
        options.out,
        options.figures,
        data=options.data,
        device=options.device,
        root=options.root,
        cache=options.cache,
    )
    print(page)
    return 0
