"""From results to the lines of a table, and how the order of rows is compared."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from covary.evaluation import Result
from covary.reproduction import Column, Measurement, Number, Printed
from covary.reproduction.measuring import UNTRAINED, Measured
from covary.reproduction.report import CHANCE, OURS, Line, lines_of, order_of, spearman

MSE = Column(
    name="MSE",
    measured=(Measurement(task="probe", data="a", metric="mse", chance="baseline.mse"),),
    paper="mse",
    best="low",
)
MEAN = Column(
    name="mean",
    measured=tuple(Measurement(task="linear", data=data, metric="accuracy") for data in ("a", "b")),
    paper="mean",
    percent=True,
    digits=2,
)
PAPER = {"stl": {"mse": Printed(0.02)}, "sen": {"mse": Printed(0.5), "mean": Printed(40.0, 1.0)}}


def result(task: str, data: str, **metrics: float) -> Result:
    named: dict[str, Any] = {"protocol": "", "source": "", "seconds": 1.0, "covary": "0", "commit": None}
    return Result(task=task, data=data, metrics={k.replace("__", "."): v for k, v in metrics.items()}, **named)


def measured(row: str, seed: int | None, mse: float, a: float, b: float, **more: float) -> Measured:
    results = (
        result("probe", "a", mse=mse, baseline__mse=1.0 + mse, **more),
        result("linear", "a", accuracy=a),
        result("linear", "b", accuracy=b),
    )
    return Measured(row=row, seed=seed, results={(r.task, r.data): r for r in results})


def test_lines_hold_means_over_sets_and_seeds_the_paper_s_numbers_and_the_baselines() -> None:
    some = [
        measured(UNTRAINED, None, 0.9, 0.1, 0.2),
        measured("stl", 0, 0.1, 0.5, 0.7, mlp__mse=0.05),
        measured("stl", 1, 0.3, 0.6, 1.0, mlp__mse=0.07),
        measured("sen", 0, 0.5, 0.2, 0.4),
    ]
    lines = lines_of(some, (MSE, MEAN), PAPER)
    assert [(line.row, line.whose) for line in lines] == [
        ("stl", OURS),
        ("stl", "ours, MLP probe"),
        ("stl", "paper"),
        ("sen", OURS),
        ("sen", "paper"),
        (UNTRAINED, OURS),
        (CHANCE, OURS),
    ]
    stl, probe, paper, sen, _, untrained, chance = (line.numbers for line in lines)
    for number, seeds in ((stl["MSE"], [0.1, 0.3]), (stl["mean"], [60.0, 80.0]), (probe["MSE"], [0.05, 0.07])):
        centre = sum(seeds) / 2
        assert isinstance(number, Number)
        assert number.seeds == pytest.approx(seeds)
        assert number.value == pytest.approx(centre)
        assert number.std == pytest.approx(math.sqrt(sum((value - centre) ** 2 for value in seeds) / (2 - 1)))
    assert "mean" not in probe
    assert paper == {"MSE": Printed(0.02)}
    assert sen["mean"] == Number(value=pytest.approx(30.0), std=None, seeds=(pytest.approx(30.0),))
    assert untrained["mean"].value == pytest.approx(15.0)
    assert chance["MSE"].value == pytest.approx((1.9 + 1.1 + 1.3 + 1.5) / 4)
    assert "mean" not in chance


def test_a_result_without_the_number_of_a_column_is_a_fault_but_for_an_optional_column() -> None:
    gone = Column(name="gone", measured=(Measurement(task="probe", data="a", metric="gone"),), paper=None)
    some = [measured("stl", 0, 0.1, 0.5, 0.7)]
    with pytest.raises(KeyError, match="gone"):
        lines_of(some, (gone,), PAPER)
    optional = Column(name="gone", measured=gone.measured, paper=None, optional=True)
    assert "gone" not in lines_of(some, (MSE, optional), PAPER)[0].numbers


@pytest.mark.parametrize("levels", [3, 5, 1000])
def test_spearman_equals_scipy_s_with_and_without_equals(levels: int) -> None:
    draw = np.random.default_rng(levels)
    for n in (3, 4, 9, 40):
        a, b = draw.integers(0, levels, (2, n)).astype(float)
        a[:2], b[:2] = (0, 1), (1, 0)  # never all equal
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_the_order_is_compared_where_three_rows_have_both_and_differ() -> None:
    def lines(ours: list[float], paper: list[float]) -> list[Line]:
        return [
            Line(row=f"row{i}", whose=whose, numbers={"MSE": Number(value=value, std=None, seeds=(value,))})
            for whose, values in ((OURS, ours), ("paper", paper))
            for i, value in enumerate(values)
        ]

    assert order_of(lines([1, 2, 3], [10, 20, 30]), (MSE,)) == {"MSE": pytest.approx(1.0)}
    assert order_of(lines([1, 2, 3, 9], [30, 20, 10]), (MSE, MEAN)) == {"MSE": pytest.approx(-1.0)}
    assert order_of(lines([1, 2], [10, 20]), (MSE,)) == {}
    assert order_of(lines([1, 1, 1], [10, 20, 30]), (MSE,)) == {}
