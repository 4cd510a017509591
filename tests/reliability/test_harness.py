"""The harness of reliability: what counts as met, what as caught, and what the README is told."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reliability import group, report
from reliability.__main__ import ROOT, ROWS, load, main, run_row
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
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- reliability -->\nold\n<!-- /reliability -->\nafter\n")
    entry = run_row(row(), "ci", 1)
    file, passport = tmp_path / report.FOLDER / report.FILE, report.passport(ROOT, seed=1, seconds=60)
    missed = {**entry, "held": 8, "trials": 9, "met": False, "id": "A10"}
    report.write(file, "release", [missed], passport)
    report.write(file, "ci", [{**entry, "id": "A2"}], passport)
    assert set(json.loads(file.read_text())) == {"ci", "release"}
    report.show(tmp_path)
    shown = readme.read_text()
    report.show(tmp_path)
    assert readme.read_text() == shown
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
    table = report.table(json.loads((ROOT / report.FOLDER / report.FILE).read_text()))
    assert table in (ROOT / report.README).read_text()


def test_a_commit_is_marked_where_files_changed_that_a_run_does_not_write(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *author, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "README.md").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    clean = report.commit(tmp_path)
    assert "+" not in clean
    (tmp_path / "README.md").write_text("2")
    (tmp_path / report.FOLDER).mkdir()
    (tmp_path / report.FOLDER / report.FILE).write_text("{}")
    assert report.commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert report.commit(tmp_path) == f"{clean}+changes"
    git("checkout", "code.py")
    (tmp_path / "new.py").touch()
    assert report.commit(tmp_path) == f"{clean}+changes"


@pytest.mark.parametrize(("waits", "limit", "code"), [(True, 1.0, None), (False, 60.0, 0)])
def test_nothing_is_left_of_a_row(tmp_path: Path, waits: bool, limit: float, code: int | None) -> None:
    child = "import time; time.sleep(600)"
    program = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid, flush=True)"
    )
    command = [sys.executable, "-c", program + ("; p.wait()" if waits else "")]
    ended = group.run(command, limit=limit, cwd=tmp_path, environ=dict(os.environ))
    assert ended.code == code
    grandchild = Path(f"/proc/{int(ended.out)}/stat")
    while grandchild.exists() and grandchild.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)


def test_a_row_that_is_not_met_fails_the_command_and_a_report_elsewhere_leaves_the_readme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {**run_row(row(), "ci", 1), "met": False}
    monkeypatch.setattr("reliability.__main__._in_a_process", lambda name, options: {**entry, "id": name})
    before = (ROOT / report.README).read_bytes(), (ROOT / report.FOLDER / report.FILE).read_bytes()
    assert main(["--out", str(tmp_path / "build")]) == 1
    assert (tmp_path / "build" / report.FILE).exists()
    assert before == ((ROOT / report.README).read_bytes(), (ROOT / report.FOLDER / report.FILE).read_bytes())
    monkeypatch.setattr("reliability.__main__._in_a_process", lambda name, options: {**entry, "id": name, "met": True})
    assert main(["--out", str(tmp_path / "build")]) == 0
