"""The harness of reliability: what counts as met, what as caught, and what the README is told."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reliability import report
from reliability.__main__ import ROWS, load, run_row
from reliability.row import Count, Figure, Row, replaced

broken = False


@contextmanager
def breaking() -> Iterator[None]:
    global broken
    broken = True
    yield
    broken = False


@contextmanager
def harmless() -> Iterator[None]:
    yield


def check(trials: int, seed: int, folder: Path) -> Figure:
    assert not list(folder.iterdir())
    assert Path.cwd() == folder
    (folder / "left").touch()
    count = Count()
    for trial in range(trials):
        count.add(f"trial {trial}", held=not broken, seen="two\nlines")
    return count.figure(kills=3)


def row(**changes: object) -> Row:
    return Row(
        **{
            "id": "A1",
            "promise": "It holds",
            "trials": {"ci": 4, "release": 9},
            "check": check,
            "mutants": {"break it": breaking},
            "mutant_trials": 2,
            **changes,
        }
    )


def test_a_row_is_met_where_it_always_held_and_every_mutant_was_caught() -> None:
    entry = run_row(row(), "ci", 1)
    assert (entry["held"], entry["fired"], entry["trials"], entry["figures"]) == (4, 4, 4, {"kills": 3})
    assert entry["mutants"] == {"break it": True}
    assert entry["met"]
    assert run_row(row(), "release", 1)["trials"] == 9


def test_a_row_is_not_met_where_a_mutant_is_not_caught_or_there_is_none() -> None:
    entry = run_row(row(mutants={"break it": breaking, "nothing": harmless}), "ci", 1)
    assert entry["mutants"] == {"break it": True, "nothing": False}
    assert entry["mutants_seen_by"]["nothing"] == ""
    assert "did not hold" in entry["mutants_seen_by"]["break it"]
    assert not entry["met"]
    assert not run_row(row(mutants={}), "ci", 1)["met"]


@pytest.mark.parametrize(
    ("held", "fired", "trials", "met"), [(3, 3, 3, True), (2, 3, 3, False), (3, 2, 3, False), (0, 0, 0, False)]
)
def test_a_fault_that_never_came_proves_nothing(held: int, fired: int, trials: int, met: bool) -> None:
    assert Figure(held=held, fired=fired, trials=trials).met == met


def test_trials_that_fail_are_lines() -> None:
    count = Count()
    count.add("first", held=True)
    count.add("second", held=False, seen="two\nlines")
    count.add("third", held=True, fired=False)
    figure = count.figure()
    assert (figure.held, figure.fired, figure.trials) == (2, 2, 3)
    assert figure.failures == ("second: did not hold two lines", "third: the fault did not happen")


def test_replaced_ends_with_its_block() -> None:
    with replaced("reliability.report.README", None)():
        assert report.README is None
    assert report.README is not None


def test_the_report_keeps_the_other_tier_and_fills_the_readme(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- reliability -->\nold\n<!-- /reliability -->\nafter\n")
    entry = run_row(row(), "ci", 1)
    report.write(
        tmp_path, "release", [{**entry, "held": 8, "trials": 9, "met": False, "id": "A10"}], seed=1, seconds=60
    )
    report.write(tmp_path, "ci", [{**entry, "id": "A2"}], seed=1, seconds=60)
    assert set(json.loads((tmp_path / report.FILE).read_text())) == {"ci", "release"}
    lines = readme.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert "| A2 | It holds | 4/4 | 1/1 |  |  |" in lines
    assert "| A10 | It holds |  |  | **8/9** | **1/1** |" in lines
    assert "old" not in lines


@pytest.mark.parametrize("name", [file.name.split("_")[0].upper() for file in ROWS])
def test_every_row_has_its_number_trials_and_mutants(name: str) -> None:
    row = load(name)
    assert row.id == name
    assert row.mutants
    assert row.mutant_trials > 0
    assert row.trials["release"] >= row.trials["ci"]
    assert row.promise[0].isupper()
    assert not row.promise.endswith(".")


def test_the_readme_shows_the_report() -> None:
    root = Path(report.__file__).parents[1]
    table = report.table(json.loads((root / report.FILE).read_text()))
    assert table in (root / report.README).read_text()
