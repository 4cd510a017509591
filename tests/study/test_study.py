import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from covary.errors import InputError
from study.claims import Claim, verdict
from study.measure import Place, differences, measured, read_results, result_file, run_study
from study.page import losses, table, write_page
from study.paired import Column, Difference, difference, mean_of, of
from study.plan import STUDIES, Row, Study, choose_row, run_of, work_of

ROOT = Path(__file__).resolve().parents[2]


def kept(row: str, seed: int, **values: float) -> dict:
    results = [
        {"task": "linear", "data": name, "protocol": "", "metrics": {"top1": value}} for name, value in values.items()
    ]
    return {"row": row, "seed": seed, "results": results}


def test_every_row_of_every_study_is_a_run() -> None:
    for name, study in STUDIES.items():
        for row in study.rows:
            run = run_of(name, row, seed=1, data="cifar10")
            assert (run.seed, run.augment.size) == (1, study.image_size)
            assert run.epochs == study.rows[row].run.get("epochs", study.epochs)
            for option, value in study.rows[row].method.items():
                assert getattr(run.method, option) == value
    assert ("linear", "gtsrb") in work_of("S1")


def test_an_unknown_row_is_one_line() -> None:
    with pytest.raises(InputError, match=r"S1 has no row 'slt'; expected .* Did you mean 'stl'"):
        choose_row("S1", "slt")


def test_paired_differences_are_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    mine, others = [0.52, 0.55, 0.51, 0.56], [0.50, 0.51, 0.50, 0.52]
    runs = [kept("a", s, x=v) for s, v in enumerate(mine)] + [kept("b", s, x=v) for s, v in enumerate(others)]
    runs.append(kept("a", 9, x=1.0))  # a seed that the other row lacks
    found = difference(runs, "a", "b", of("linear", "x", "top1"))
    interval = stats.ttest_rel(mine, others).confidence_interval(0.95)
    assert found is not None
    assert found.seeds == 4
    assert found.mean - found.reach == pytest.approx(interval.low, abs=1e-5)
    assert found.mean + found.reach == pytest.approx(interval.high, abs=1e-5)
    assert found.sign == (1 if interval.low > 0 else 0)


def test_one_seed_has_no_interval_and_no_seed_no_difference() -> None:
    runs = [kept("a", 0, x=0.5), kept("b", 0, x=0.4)]
    found = difference(runs, "a", "b", of("linear", "x", "top1"))
    assert found is not None
    assert (found.mean, found.reach, found.sign) == (pytest.approx(0.1), math.inf, 0)
    assert difference(runs, "a", "c", of("linear", "x", "top1")) is None
    assert mean_of([of("linear", "x", "top1"), of("linear", "y", "top1")])(runs[0]) is None


@pytest.mark.parametrize(
    ("mean", "reach", "low", "close", "said"),
    [
        (0.02, 0.01, False, None, "**holds**"),
        (0.02, 0.01, True, None, "**does not hold**: the reverse"),
        (0.02, 0.03, False, None, "undecided, as claimed in the mean"),
        (-0.02, 0.03, False, None, "undecided, against the claim in the mean"),
        (-0.002, 0.003, False, 0.01, "**holds**"),
        (-0.02, 0.003, False, 0.01, "does not hold"),
        (-0.008, 0.009, False, 0.01, "undecided"),
    ],
)
def test_a_claim_holds_where_the_interval_says_so(
    mean: float, reach: float, low: bool, close: float | None, said: str
) -> None:
    column = Column(name="x", metric=of("linear", "x", "top1"), low=low)
    claim = Claim(words="", row="a", other="b", column=column, close=close)
    assert verdict(claim, Difference(mean=mean, deviation=0.0, reach=reach, seeds=3)) == said


def test_a_table_marks_the_best_and_where_stl_is_beaten() -> None:
    runs = [kept("untrained", 0, x=0.9)]
    runs += [
        kept(row, seed, x=value + seed / 100) for row, value in (("simclr", 0.5), ("stl", 0.4)) for seed in range(2)
    ]
    column = Column(name="accuracy", metric=of("linear", "x", "top1"))
    lines = table(runs, [column]).splitlines()
    assert lines[2:] == ["| untrained |  | 90.0 |", "| simclr | 2 | **50.5** ± 0.7 |", "| stl | 2 | 40.5 ± 0.7 |"]
    assert "- to simclr: **accuracy** -10.0 points ± 0.0, 2 seeds" in losses(runs, [column])


def test_the_page_is_a_function_of_the_results(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text(encoding="utf-8"), encoding="utf-8")
    write_page(ROOT / "results", tmp_path / "docs", readme)
    made = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(made) >= 3
    for file in made:
        assert file.read_bytes() == (ROOT / file.relative_to(tmp_path)).read_bytes(), (
            f"python -m study write: {file.name}"
        )


def test_a_study_trains_measures_keeps_and_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (tmp_path / "sets" / "few" / split / label).mkdir(parents=True)
            for number in range(12):
                pixels = generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "sets" / "few" / split / label / f"{number}.png")
    row = Row(recipe="simclr", seeds=1, run={"batch_size": 8, "epochs": 1})
    study = Study(
        title="few", data="few", image_size=16, epochs=1, rows={"simclr": row}, in_domain=("few",), out_domain=()
    )
    monkeypatch.setattr("study.plan.STUDIES", {"few": study})
    monkeypatch.setattr("study.measure.work_of", lambda name: [("knn", "few")])
    place = Place(
        sets=tmp_path / "sets", runs=tmp_path / "runs", results=tmp_path / "results", cache=tmp_path / "cache"
    )
    run_study("few", ["simclr"], [0], place)
    file = result_file("few", "simclr", 0, place.results)
    first = json.loads(file.read_text())
    assert first["run"]["data"] == "few"
    assert str(tmp_path) not in file.read_text()
    assert [each["row"] for each in read_results(place.results, "few")] == ["untrained", "simclr"]
    again = measured("few", "simclr", 0, place, again=True)
    assert differences(first, again) == []
    again["results"][0]["metrics"]["top1"] += 1e-6
    assert differences(first, again | {"weights": "other"}) == ["weights", "knn few top1"]
    before = file.stat().st_mtime_ns
    run_study("few", ["simclr"], [0], place)  # nothing is left to do
    assert file.stat().st_mtime_ns == before
