import dataclasses
import itertools

import pytest

from covary.augment import (
    COLUMNS,
    JITTER_ORDERS,
    TARGETS,
    ColorJitter,
    Crop,
    GaussianBlur,
    Recipe,
    Rotation,
    Solarize,
    TurnedView,
    preset,
    turned_view,
)
from covary.augment.recipe import NAMES
from covary.errors import InputError

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.2, 0.2)


def recipe(**fields):
    return Recipe(**({"size": 32, "mean": MEAN, "std": STD} | fields))


@pytest.mark.parametrize(("size", "kernel"), [(32, 3), (64, 7), (96, 9), (224, 23)])
@pytest.mark.parametrize(
    ("name", "targets"), [("paper", ("crop", "jitter")), ("official_code", ("crop", "jitter", "grayscale"))]
)
def test_presets(name, targets, size, kernel):
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
        targets=targets,
        partners=True,
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
        (lambda: recipe(targets=("crops",)), "Did you mean 'crop'?"),
        (lambda: recipe(targets=("crop", "crop")), "targets name 'crop' twice"),
        (lambda: recipe(partners=True), "partners share nothing, as targets are empty"),
        (lambda: TurnedView(size=0), "turned.size is 0 pixels"),
        (lambda: TurnedView(size=16, scale=(0.0, 1.0)), "turned.scale"),
        (lambda: preset("papers", size=32, mean=MEAN, std=STD), "Did you mean 'paper'?"),
    ],
)
def test_wrong_values_say_what_to_change(make, message):
    with pytest.raises(InputError) as error:
        make()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("size", "small", "scale"),
    [(32, 16, (0.2, 1.0)), (96, 48, (0.2, 1.0)), (160, 68, (0.05, 0.14)), (224, 96, (0.05, 0.14))],
)
def test_the_turned_view_of_a_size(size, small, scale):
    assert turned_view(size) == TurnedView(size=small, scale=scale)


def test_partners_share_the_targets():
    whole = preset("paper", size=32, mean=MEAN, std=STD)
    assert whole.aligned == ("crop", "jitter")
    assert dataclasses.replace(whole, partners=False).aligned == ()
    assert {name: len(operations) for name, operations in TARGETS.items()} == {
        "crop": 1,
        "color": 1,
        "crop+color": 2,
        "all": len(NAMES),
    }


def test_a_kernel_wider_than_the_view_is_fine_when_nothing_is_blurred():
    assert recipe(size=4, blur=GaussianBlur(p=0.0)).size == 4
