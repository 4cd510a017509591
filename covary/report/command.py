"""``covary report``: runs to one HTML page."""

import re
from collections.abc import Sequence
from pathlib import Path

from covary.errors import InputError
from covary.evaluation.result import check_writable
from covary.private import visible
from covary.report.blocks import Charts, Section
from covary.report.page import drawn, page
from covary.report.read import read_runs
from covary.report.sections import SECTIONS
from covary.rundir import write_atomic


def report(runs: str | Path | Sequence[str | Path], out: str | Path, figures: str | Path | None = None) -> Path:
    """Write one self-contained HTML page about run folders, finished or not; return its path.

    runs:    run folders, shown side by side in this order.
    out:     the page, a file that ends in .html.
    figures: folder for the curves as SVG files, each with a title and a legend; None writes none.

    Raises InputError: a folder that holds no run or a damaged file, or an ``out`` that cannot be written.
    """
    given = [runs] if isinstance(runs, str | Path) else runs
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"The report {out} would be no HTML file by its name; let --out end in .html.")
    check_writable(out)
    if figures is not None:
        check_writable(Path(figures) / "loss.svg")
    read = read_runs([Path(run) for run in given])
    names = [run.name for run in read]
    sections = [section(read) for section in SECTIONS]
    if figures is not None:
        _write_figures(names, sections, Path(figures))
    write_atomic(out, page(names, sections))
    return out


def _write_figures(names: Sequence[str], sections: Sequence[Section], folder: Path) -> None:
    """Write each chart as an SVG file named after it; of two of one name, the later one has a number."""
    written: dict[str, int] = {}
    blocks = [block for section in sections for block in section.blocks if isinstance(block, Charts)]
    for chart in (chart for block in blocks for chart in block.charts):
        name = re.sub(r"[^a-z0-9]+", "-", chart.title.lower()).strip("-") or "values"
        written[name] = written.get(name, 0) + 1
        file = f"{name}.svg" if written[name] == 1 else f"{name}-{written[name]}.svg"
        write_atomic(folder / file, drawn(chart, names, "light", title=visible(chart.title)))
