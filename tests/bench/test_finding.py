"""The arithmetic of lines."""

import numpy as np
import pytest

from covary.bench.finding import Goal, Spread, line, milliseconds, rate, ratio

VALUES = (3.0, 1.0, 10.0, 4.0, 2.0)


def test_a_spread_is_numpys_quartiles() -> None:
    spread = Spread.of(VALUES)
    assert [spread.low, spread.median, spread.high] == np.percentile(VALUES, [25, 50, 75]).tolist()


def test_a_single_value_is_its_own_spread() -> None:
    assert Spread.of([2.0]) == Spread(median=2.0, low=2.0, high=2.0)


def test_rates_and_times() -> None:
    assert milliseconds("a", VALUES).spread.median == 3000
    assert rate("a", 6, (1.0, 2.0, 3.0)).spread.median == 3
    assert (milliseconds("a", VALUES).unit, rate("a", 6, VALUES).unit) == ("ms", "images/s")


def test_a_ratio_is_taken_round_by_round() -> None:
    """The ratio of the medians would be 1: a moment that slows both threefold changes no ratio of its round."""
    found = ratio("a / b", (1.0, 6.0, 2.0), (2.0, 3.0, 1.0))
    assert found.spread.median == 2
    with pytest.raises(ValueError, match="zip"):
        ratio("a / b", (1.0, 2.0), (1.0,))


@pytest.mark.parametrize(("sense", "below", "above"), [("at least", False, True), ("at most", True, False)])
def test_a_goal_holds_at_its_bound(sense: str, below: bool, above: bool) -> None:
    goal = Goal(sense=sense, bound=0.85)  # pyright: ignore[reportArgumentType]
    assert (goal.met(0.84), goal.met(0.85), goal.met(0.86)) == (below, True, above)
    assert line("a", "", VALUES, goal).goal == goal
