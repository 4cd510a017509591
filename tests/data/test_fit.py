import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import picture
from torchvision.transforms import InterpolationMode
from torchvision.transforms import v2 as T

from covary.data import Fit
from covary.errors import InputError

sides = st.integers(1, 90)


@settings(max_examples=60, deadline=None)
@given(width=sides, height=sides, size=st.integers(1, 40))
def test_evaluation_is_torchvisions_resize_and_center_crop(width: int, height: int, size: int) -> None:
    image = picture(0, width=width, height=height)
    oracle = T.Compose([T.Resize(size, InterpolationMode.BICUBIC, antialias=True), T.CenterCrop(size)])
    assert np.array_equal(np.asarray(Fit.evaluate(size).apply(image)), np.asarray(oracle(image)))


@settings(max_examples=100, deadline=None)
@given(width=sides, height=sides, size=st.integers(1, 40))
def test_training_keeps_what_views_are_cropped_from(width: int, height: int, size: int) -> None:
    image = picture(0, width=width, height=height)
    fit = Fit.train(size)
    stored = fit.apply(image)
    short, long = sorted(stored.size)
    assert short == min(width, height, math.ceil(1.5 * size))
    assert long <= 2 * short
    assert long >= short
    assert fit.keeps(*image.size) == (stored is image)
    if max(width, height) <= 2 * min(width, height):
        assert abs(stored.width / stored.height - width / height) <= 1 / short
    assert fit.keeps(*stored.size)


@settings(max_examples=100, deadline=None)
@given(width=st.integers(1, 9000), height=st.integers(1, 9000), size=st.integers(1, 300))
def test_a_jpeg_is_reduced_as_far_as_twice_the_stored_side_remains(width: int, height: int, size: int) -> None:
    short, stored = min(width, height), math.ceil(1.5 * size)
    by = Fit.train(size).reduction(width, height)
    assert by in (1, 2, 4, 8)
    assert by == 1 or short / by >= 2 * stored
    assert by == 8 or short / (2 * by) < 2 * stored
    assert Fit.evaluate(size).reduction(width, height) == 1


def test_training_cuts_the_middle_of_a_long_image() -> None:
    image = picture(0, width=50, height=10)
    assert np.array_equal(np.asarray(Fit.train(20).apply(image)), np.asarray(image)[:, 15:35])


def test_size_must_be_positive() -> None:
    with pytest.raises(InputError, match="image size 0 is not positive"):
        Fit.train(0)
