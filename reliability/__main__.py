"""``python -m reliability``: run rows, each in a process of its own, three at a time; write report and table."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

from reliability import group, report
from reliability.row import Figure, Row, Tier

ROOT = Path(__file__).parents[1]
ROWS = sorted(Path(__file__).with_name("rows").glob("[a-d][0-9]*.py"), key=lambda file: file.name)
SLOWEST_FIRST = ("A1", "C4", "A2", "C2", "A4", "C3", "C1", "B6", "A12", "C5")
LIMIT = {"ci": 420, "release": 2400}  # seconds that a row may take
SEED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run rows; return 0 where every promise held and every mutant was caught."""
    options = _options(argv)
    if options.only:
        print(json.dumps(run_row(load(options.only), options.tier, options.seed)))
        return 0
    names = {file.name.split("_")[0].upper(): file for file in ROWS}
    if unknown := sorted(set(options.rows) - set(names)):
        sys.exit(f"no row {', '.join(unknown)}; there are {', '.join(names)}")
    chosen = [name for name in names if not options.rows or name in options.rows]
    chosen = [name for name in chosen if load(name).trials[options.tier]]
    order = sorted(chosen, key=lambda name: SLOWEST_FIRST.index(name) if name in SLOWEST_FIRST else len(SLOWEST_FIRST))
    began = time.monotonic()
    with ThreadPoolExecutor(options.processes) as pool:
        try:
            rows = dict(zip(order, pool.map(lambda name: _in_a_process(name, options), order), strict=True))
        except KeyboardInterrupt:  # which does not reach the rows, in sessions of their own
            pool.shutdown(wait=False, cancel_futures=True)
            group.stop()
            raise
    found = [rows[name] for name in chosen]
    if not options.rows:
        passport = report.passport(ROOT, seed=options.seed, seconds=time.monotonic() - began)
        report.write((options.out or ROOT / report.FOLDER) / report.FILE, options.tier, found, passport)
        if options.out is None:
            report.show(ROOT)
    failed = [row["id"] for row in found if not row["met"]]
    print(f"{len(found) - len(failed)} of {len(found)} rows met, {time.monotonic() - began:.0f} s", flush=True)
    if failed:
        print(f"not met: {', '.join(failed)}")
    return 1 if failed else 0


def load(name: str) -> Row:
    """Return the row of a number such as A1."""
    file = next(file for file in ROWS if file.name.split("_")[0].upper() == name)
    return import_module(f"reliability.rows.{file.stem}").ROW


def run_row(row: Row, tier: Tier, seed: int) -> dict[str, Any]:
    """Run a row's check, then again with each of its mutants; return its entry of the report."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        figure = row.check(row.trials[tier], seed, Path(folder))
    seconds = time.monotonic() - began
    caught, seen_by = {}, {}
    for name, mutant in row.mutants.items():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            with mutant():
                seen = row.check(row.mutant_trials, seed, Path(folder))
        caught[name] = seen.held < seen.trials and seen.fired > 0
        seen_by[name] = next(iter(seen.failures), "")
    os.chdir(ROOT)
    return {
        "id": row.id,
        "promise": row.promise,
        **asdict(figure),
        "failures": list(figure.failures[:5]),
        "mutants": caught,
        "mutants_seen_by": seen_by,
        "met": figure.met and all(caught.values()) and bool(caught),
        "seconds": round(seconds, 1),
        "with_mutants": round(time.monotonic() - began, 1),
    }


def _in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "reliability", "--only", name, "--tier", options.tier, "--seed", str(options.seed)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    limit = LIMIT[options.tier]
    ended = group.run(command, limit=limit, cwd=ROOT, environ=environ)
    entry = json.loads(ended.out.splitlines()[-1]) if ended.code == 0 else None
    failure = f"took more than {limit} s" if ended.code is None else f"exit code {ended.code}: {ended.err[-1500:]}"
    row = load(name)
    entry = entry or {
        "id": name,
        "promise": row.promise,
        **asdict(Figure(held=0, fired=0, trials=row.trials[options.tier], failures=(failure,))),
        "mutants": {},
        "met": False,
        "seconds": 0.0,
        "with_mutants": 0.0,
    }
    print(report.line(entry), flush=True)
    for failure in [] if entry["met"] else entry["failures"]:
        print(f"     {failure}", flush=True)
    return entry


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m reliability", description=__doc__)
    parser.add_argument("rows", nargs="*", type=str.upper, help="rows such as A1; all where none is named")
    parser.add_argument("--tier", choices=get_args(Tier), default="ci")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=3, help="rows that run at a time")
    parser.add_argument(
        "--out", type=Path, help="folder for the report; reports/ where none is given, and then the README is filled"
    )
    parser.add_argument("--only", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
