"""The picture of a step: bars that are the shares of its stages."""

import pytest
from matplotlib.patches import Rectangle

from covary.draw.stages import stages


def test_bars_are_shares() -> None:
    steps = {"a": {"views": 1.0, "forward": 3.0}, "b": {"views": 10.0, "forward": 10.0}}
    (axes,) = stages(steps).axes
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    assert [bar.get_width() for bar in bars] == pytest.approx([0.25, 0.5, 0.75, 0.5])
    assert [bar.get_x() for bar in bars] == pytest.approx([0, 0, 0.25, 0.5])
    assert {text.get_text() for text in axes.texts} == {"1 ms", "3 ms", "10 ms"}
