"""``covary report``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from covary.cli.parse import parse
from covary.report import report


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary report``."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Run folders, finished or not; several are shown side by side."""
    out: Path
    """The page: one HTML file that needs nothing beside it."""
    figures: Path | None = None
    """Folder for the curves as SVG files; without it, none are written."""


def main(argv: Sequence[str]) -> int:
    """Write the page, print where it is; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary report",
        description="Show what runs did as one HTML page: settings, curves, results, runs side by side.",
    )
    print(report(options.runs, options.out, options.figures))
    return 0
