"""Boxes stay on what they frame, however an image is resized and flipped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from covary.errors import InputError
from covary.evaluation.detection.options import SMALL
from covary.evaluation.detection.transforms import fixed_example, random_example
from covary.evaluation.detection.voc import Boxed

WIDE = replace(SMALL, sizes=(64, 96, 128), test_size=96, max_size=200)


@pytest.fixture
def boxed(tmp_path: Path) -> Boxed:
    """A black image of 160 x 80 pixels with a white rectangle from (20, 10) to (60, 50)."""
    pixels = torch.zeros(80, 160, 3, dtype=torch.uint8)
    pixels[10:50, 20:60] = 255
    Image.fromarray(pixels.numpy()).save(tmp_path / "a.png")
    return Boxed(
        image=tmp_path / "a.png",
        boxes=torch.tensor([[20.0, 10.0, 60.0, 50.0]]),
        labels=torch.tensor([1]),
        difficult=torch.tensor([False]),
    )


def frame(pixels: Tensor) -> Tensor:
    """Return the box around what is brighter than half."""
    rows, columns = (pixels[0] > 0.5).nonzero().unbind(1)
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def test_boxes_follow_their_objects(boxed: Boxed) -> None:
    seen = set()
    for position in range(40):
        example = random_example(boxed, WIDE, seed=0, position=position)
        assert (example.boxes[0] - frame(example.pixels)).abs().max() <= 1
        flipped = bool(example.boxes[0, 0] > example.pixels.shape[2] / 2)
        seen.add((tuple(example.pixels.shape), flipped))
    shapes = {(3, 64, 128), (3, 96, 192), (3, 100, 200)}  # 128 x 256 is wider than 200
    assert seen == {(shape, flipped) for shape in shapes for flipped in (True, False)}


def test_boxes_are_scaled_and_mirrored_exactly(boxed: Boxed) -> None:
    fixed = replace(WIDE, sizes=(96,))
    found = {tuple(random_example(boxed, fixed, seed=0, position=i).boxes[0].tolist()) for i in range(20)}
    plain, mirrored = sorted(found)
    assert plain == pytest.approx((24, 12, 72, 60))
    assert mirrored == pytest.approx((192 - 72, 12, 192 - 24, 60))


def test_a_test_image_has_one_size_and_tells_its_scale(boxed: Boxed) -> None:
    example = fixed_example(boxed, WIDE)
    assert example.pixels.shape == (3, 96, 192)
    assert example.scale == (1.2, 1.2)
    assert example.boxes[0].tolist() == pytest.approx([24, 12, 72, 60])
    assert (example.pixels.min(), example.pixels.max()) == (0, 1)


def test_examples_are_functions_of_seed_and_position(boxed: Boxed) -> None:
    state = torch.get_rng_state()
    first, again, other = (random_example(boxed, WIDE, seed=0, position=i) for i in (3, 3, 4))
    assert torch.equal(first.pixels, again.pixels)
    assert first.boxes.equal(again.boxes)
    assert other.pixels.shape != first.pixels.shape or not torch.equal(first.pixels, other.pixels)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(first.boxes) is type(first.pixels) is Tensor


def test_an_image_without_boxes_goes_through(boxed: Boxed) -> None:
    empty = replace(boxed, boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    assert random_example(empty, WIDE, seed=0, position=0).boxes.shape == (0, 4)


def test_an_image_that_breaks_is_named(boxed: Boxed) -> None:
    boxed.image.write_bytes(boxed.image.read_bytes()[:60])
    with pytest.raises(InputError, match=r"The image \S+a.png cannot be read"):
        fixed_example(boxed, WIDE)
