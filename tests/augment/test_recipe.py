import itertools

import pytest

from covary.augment import (
    COLUMNS,
    JITTER_ORDERS,
    ColorJitter,
    Crop,
    GaussianBlur,
    Recipe,
    Rotation,
    Solarize,
    preset,
)
from covary.errors import InputError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)


def recipe(**fields):
    return Recipe(**({"size": 32, "mean": MEAN, "std": STD} | fields))


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (64, 7), (96, 9), (224, 23)])
@pytest.mark.parametrize(
    ("name", "aligned"), [("paper", ("crop", "jitter")), ("official_code", ("crop", "jitter", "grayscale"))]
)
def test_presets(name, aligned, size, kernel):
    assert preset(name, size=size, mean=MEAN, std=STD) == Recipe(
        size=size,
        mean=MEAN,
        std=STD,
        crop=Crop(scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3)),
        flip=0.5,
        quarter_turns=0.0,
        rotation=Rotation(p=0.0),
        jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
        grayscale=0.2,
        blur=GaussianBlur(kernel=kernel, sigma=(0.1, 2.0), p=0.5),
        solarize=Solarize(p=0.0),
        aligned=aligned,
        views=2,
    )


def test_columns_lie_side_by_side():
    ends = [0, *(column.stop for column in COLUMNS.values())]
    assert [column.start for column in COLUMNS.values()] == ends[:-1]
    assert list(COLUMNS) == [
        *("crop", "flip", "turn", "angle", "brightness", "contrast", "saturation", "hue", "order"),
        *("grayscale", "blur", "solarize"),
    ]
    assert ends[-1] == 15


def test_jitter_orders_are_all_orders():
    assert set(JITTER_ORDERS) == set(itertools.permutations(("brightness", "contrast", "saturation", "hue")))
    assert JITTER_ORDERS[0] == ("brightness", "contrast", "saturation", "hue")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Crop(scale=(0.0, 1.0)),
            "crop.scale is (0.0, 1.0); expected two numbers above 0, at most 1, the",
        ),
        (lambda: Crop(scale=(0.2, 1.5)), "crop.scale is (0.2, 1.5)"),
        (lambda: Crop(scale=(0.9, 0.1)), "the smaller first"),
        (lambda: Crop(ratio=(0.0, 1.0)), "crop.ratio"),
        (
            lambda: Crop(ratio=(0.5, float("inf"))),
            "crop.ratio is (0.5, inf); expected two numbers above 0, the smaller first",
        ),
        (lambda: ColorJitter(hue=0.6), "jitter.hue is 0.6; expected a number from 0 to 0.5"),
        (lambda: ColorJitter(brightness=-1.0), "jitter.brightness is -1.0"),
        (lambda: ColorJitter(p=float("nan")), "jitter.p is nan"),
        (lambda: GaussianBlur(kernel=8), "blur.kernel is 8; expected an odd number"),
        (lambda: GaussianBlur(kernel=-1), "blur.kernel is -1"),
        (lambda: GaussianBlur(sigma=(0.0, 1.0)), "blur.sigma"),
        (lambda: Solarize(threshold=1.0), "solarize.threshold is 1.0"),
        (lambda: Rotation(degrees=200.0), "rotation.degrees is 200.0"),
        (lambda: recipe(size=0), "The size of a view is 0 pixels"),
        (lambda: recipe(views=0), "The number of views is 0"),
        (lambda: recipe(std=(0.1, 0.0, 0.1)), "std above 0"),
        (lambda: recipe(mean=(0.1, 0.1)), "expected three numbers each"),
        (lambda: recipe(mean=(0.1, float("nan"), 0.1)), "mean"),
        (lambda: recipe(flip=2.0), "flip is 2.0; expected a number from 0 to 1"),
        (lambda: recipe(size=4), "blur.kernel is 9 for views of 4 pixels; expected at most 7"),
        (lambda: recipe(aligned=("crops",)), "Did you mean 'crop'?"),
        (lambda: recipe(aligned=("crop", "crop")), "aligned names 'crop' twice"),
        (lambda: preset("papers", size=32, mean=MEAN, std=STD), "Did you mean 'paper'?"),
    ],
)
def test_wrong_values_say_what_to_change(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_kernel_wider_than_the_view_is_fine_when_nothing_is_blurred():
    assert recipe(size=4, blur=GaussianBlur(p=0.0)).size == 4
