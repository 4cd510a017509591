"""``python -m study run|figures|write|repeat``: train and measure, draw, write ``docs/results.md``, repeat a run."""

import argparse
import json
import sys
from pathlib import Path

from covary.errors import InputError
from study.codes import draw_figures
from study.measure import Place, differences, measured, result_file, run_study
from study.plan import STUDIES, choose_row, choose_study
from study.sets import check_sets

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m study", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, says in (
        ("run", "train and measure what has no results yet; the same command goes on where it was interrupted"),
        ("figures", "draw figures 1 and 4 of the paper from the runs of S1"),
        ("repeat", "train and measure a run once more and compare every number with those kept"),
    ):
        command = commands.add_parser(name, help=says)
        if name != "figures":
            command.add_argument("study", choices=sorted(STUDIES))
            command.add_argument("--rows", nargs="+", help="some of the rows; all by default")
            command.add_argument("--seeds", nargs="+", type=int, help="which seeds; all by default")
        command.add_argument("--sets", type=Path, default=Path("../shared/data"), help="folder of image sets")
        command.add_argument("--runs", type=Path, default=Path("runs/study"), help="folder for the runs")
        command.add_argument("--results", type=Path, default=ROOT / "results", help="folder of what is kept")
        command.add_argument("--cache", type=Path, default=None, help="folder of stores and features")
    write = commands.add_parser("write", help="write docs/results.md and its figures from results/")
    write.add_argument("--results", type=Path, default=ROOT / "results", help="folder of what is kept")
    write.add_argument("--docs", type=Path, default=ROOT / "docs", help="where results.md goes")
    write.add_argument("--readme", type=Path, default=ROOT / "README.md", help="whose table is filled")
    options = parser.parse_args()
    try:
        if options.command == "write":
            from study.page import write_page

            write_page(options.results, options.docs, options.readme)
            return 0
        check_sets(options.sets)
        place = Place(sets=options.sets, runs=options.runs, results=options.results, cache=options.cache)
        if options.command == "figures":
            draw_figures(place)
            return 0
        rows = options.rows or list(choose_study(options.study).rows)
        seeds = options.seeds or list(range(max(choose_row(options.study, row).seeds for row in rows)))
        if options.command == "run":
            run_study(options.study, rows, seeds, place)
            return 0
        return max(_repeat(options.study, row, seed, place) for row in rows for seed in seeds)
    except InputError as error:
        print(f"study: {error}", file=sys.stderr)
        return 2


def _repeat(study: str, row: str, seed: int, place: Place) -> int:
    file = result_file(study, row, seed, place.results)
    if not file.is_file():
        raise InputError(f"{file} is missing; there is nothing to compare with.")
    kept, found = json.loads(file.read_text(encoding="utf-8")), measured(study, row, seed, place, again=True)
    unlike = differences(kept, found)
    print(f"{study} {row} seed {seed}: {'every number is the same' if not unlike else f'not the same: {unlike}'}")
    return 1 if unlike else 0


if __name__ == "__main__":
    sys.exit(main())
