"""Sensitivity: distances against loops, orbits that change one thing, and what is known in advance."""

import itertools
import math

import pytest
import torch

from covary.augment import COLUMNS, preset
from covary.errors import InputError
from covary.evaluation.sensitivity import SensitivityOptions, between_images, for_orbits, moved, orbit, slope
from covary.evaluation.transformations import unchanged

BASE = preset("paper", size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
OPTIONS = SensitivityOptions()


def away(x: list[float], y: list[float]) -> float:
    return 1 - sum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))


def test_distances_equal_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    start, views = torch.randn(5, 3, generator=generator), torch.randn(4, 5, 3, generator=generator)
    pairs = [away(a.tolist(), b.tolist()) for a, b in itertools.permutations(start, 2)]
    unit = between_images(start)
    assert unit == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    wanted = [sum(away(a.tolist(), b.tolist()) for a, b in zip(start, v, strict=True)) / 5 / unit for v in views]
    assert moved(start, views, unit).tolist() == pytest.approx(wanted, abs=1e-6)


def test_the_slope_of_a_line_is_its_own() -> None:
    steps = (-1.0, -0.5, 0.5, 1.0)
    assert slope(torch.tensor([3.0, 1.5, 1.5, 3.0], dtype=torch.float64), steps) == pytest.approx(3.0)


@pytest.mark.parametrize("name", list(OPTIONS.orbits))
def test_an_orbit_changes_one_thing_by_its_steps(name: str) -> None:
    before = unchanged(BASE, 3)
    steps = OPTIONS.orbits[name]
    views, start = orbit(name, steps, before, OPTIONS)
    assert views.shape == (len(steps), *before.shape)
    change = (views - start)[:, 0]
    columns = {
        "zoom": range(4), "shift_y": [0], "shift_x": [1], "rotation": [COLUMNS["angle"].start],
    }.get(name) or [COLUMNS[name].start]  # fmt: skip
    others = [column for column in range(before.shape[1]) if column not in columns]
    assert not change[:, others].any()
    reach = {"shift_x": 0.25, "shift_y": 0.25, "rotation": 30, "blur": 2, "hue": 0.1}.get(name, 0.4)
    if name == "zoom":
        assert views[-1, 0, :4].tolist() == [0.25, 0.25, 0.5, 0.5]
    else:
        assert change[:, columns[0]].tolist() == pytest.approx([step * reach for step in steps], abs=1e-6)
    assert for_orbits(BASE, OPTIONS).blur.kernel == 13


@pytest.mark.parametrize(("options", "message"), [({"hue": 0.7}, "hue is 0.7"), ({"images": 1}, "images is 1")])
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SensitivityOptions(**options)
