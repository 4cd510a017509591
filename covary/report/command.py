"""``covary report``: runs to one HTML page."""

from collections.abc import Sequence
from pathlib import Path

from covary.errors import InputError
from covary.evaluation.result import check_writable
from covary.private import without_paths
from covary.report.figures import write_figures
from covary.report.page import page
from covary.report.read import read_runs
from covary.report.sections import sections
from covary.report.shown import shown_runs
from covary.rundir import write_atomic


def report(
    runs: str | Path | Sequence[str | Path],
    out: str | Path,
    figures: str | Path | None = None,
    *,
    data: str | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    cache: str | Path | None = None,
) -> Path:
    """Write one self-contained HTML page about run folders, finished or not, or results alone; return its path.

    runs:    run folders, or files of results that ``covary evaluate --out`` wrote of any encoder, shown side by side
             in this order, the folders first.
    out:     the page, a file that ends in .html.
    figures: folder for the pictures as SVG files, each with a title and a legend; None writes none.
    data:    SPEC of images on which the finished runs' encoders are shown: orbits and neighbours of test images, and a
             map of transformation codes. None reads the run folders alone.
    device:  auto, cpu or cuda; of these encoders.
    root, cache: where data sets, and stores of images and features lie (``data.load``).

    Raises InputError: a folder that holds no run or a damaged file, an ``out`` that cannot be written, or images that
    are not there.
    """
    given = sorted((Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)), key=Path.is_file)
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"The report {out} would be no HTML file by its name; let --out end in .html.")
    check_writable(out)
    if figures is not None:
        check_writable(Path(figures) / "loss.svg")
    read = read_runs(given)
    names, shown, made_from = [run.name for run in read], None, "the run folders alone"
    if data is not None:
        places = {"root": root, "cache": cache}
        folders = {name: None if place is None else Path(place) for name, place in places.items()}
        shown = shown_runs(given, read, data, device=device, **folders)
        made_from = f"the run folders and images of {without_paths(data, [data])}"
    made = sections(read, shown)
    if figures is not None:
        write_figures(names, made, Path(figures))
    write_atomic(out, page(names, made, made_from=made_from))
    return out
