"""What evaluations do to images: the operations named and no others, the same to partners."""

from dataclasses import replace

import pytest
import torch

from covary.augment import COLUMNS, apply, preset
from covary.evaluation.transformations import CONDITIONS, TYPES, draw, only, says, single, unchanged

BASE = replace(preset("paper", size=16, mean=(0.5,) * 3, std=(0.25,) * 3), quarter_turns=0.5)
ALL = {"crop", "flip", "turn", "angle", "brightness", "contrast", "saturation", "hue", "grayscale", "blur", "solarize"}


def changed(params: torch.Tensor, before: torch.Tensor) -> set[str]:
    return {name for name in ALL if (params[..., COLUMNS[name]] != before[..., COLUMNS[name]]).any()}


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("crop", {"crop"}),
        ("color", {"brightness", "contrast", "saturation", "hue"}),
        ("all", {"crop", "brightness", "contrast", "saturation", "hue"}),
    ],
)
def test_a_condition_does_what_it_names_to_every_view_and_the_same_to_partners(condition: str, names: set[str]) -> None:
    recipe = only(BASE, CONDITIONS[condition], views=6)
    params = draw(recipe, 8, seed=1, stream="x")
    before = unchanged(BASE, 8)
    assert changed(params, before) == names
    assert torch.equal(params[:, 0::2], params[:, 1::2])
    assert not torch.equal(params[:, 0], params[:, 2])
    assert ((params != before).any(dim=2)).all()
    assert torch.equal(draw(recipe, 7, seed=1, stream="x"), params[:, :7])
    assert not torch.equal(draw(recipe, 8, seed=2, stream="x"), params)


def test_unchanged_numbers_change_nothing() -> None:
    images = torch.rand(3, 3, 16, 16)
    views = apply(images, unchanged(BASE, 3)[None], only(BASE, ("crop",), views=1))[0]
    torch.testing.assert_close(views, (images - 0.5) / 0.25, rtol=0, atol=1e-5)


def test_a_single_change_takes_one_thing() -> None:
    before = unchanged(BASE, len(TYPES))
    drawn = draw(only(BASE, CONDITIONS["all"], views=1), len(TYPES), seed=0, stream="y")[0]
    after = single(before, drawn, torch.arange(len(TYPES)))
    for row, name in enumerate(TYPES):
        assert changed(after[row], before[row]) == {name}
        assert torch.equal(after[row, COLUMNS[name]], drawn[row, COLUMNS[name]])


def test_ranges_are_said() -> None:
    assert says(only(BASE, CONDITIONS["all"], views=1, always=False)) == (
        "crop of area 0.2 to 1 and jitter 0.4/0.4/0.4/0.1 with p = 0.8"
    )
    assert says(only(BASE, CONDITIONS["color"], views=1)) == "jitter 0.4/0.4/0.4/0.1 with p = 1"
