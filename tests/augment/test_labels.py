"""Labels against what is seen: each is read back from views of an image that shows the operation."""

import colorsys
import copy
import dataclasses
import itertools
import math
import pickle

import pytest
import torch

from covary.augment import (
    COLUMNS,
    TARGETS,
    ColorJitter,
    Crop,
    GaussianBlur,
    Labels,
    Recipe,
    Rotation,
    Solarize,
    make_views,
    preset,
    sample,
)
from covary.augment.recipe import NAMES
from covary.errors import InputError
from covary.types import Batch

PAPER = preset("paper", size=96, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
NOTHING = Recipe(
    size=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    crop=Crop(scale=(1.0, 1.0), ratio=(1.0, 1.0)),
    flip=0.0,
    jitter=ColorJitter(p=0.0),
    grayscale=0.0,
    blur=GaussianBlur(p=0.0),
    targets=NAMES,
)
EVERYTHING = Recipe(
    size=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    crop=Crop(scale=(0.01, 1.0)),
    quarter_turns=0.75,
    rotation=Rotation(degrees=30.0, p=0.5),
    jitter=ColorJitter(brightness=1.5),
    solarize=Solarize(threshold=0.3, p=0.5),
    targets=NAMES,
)
FACTORS = ("brightness", "contrast", "saturation")
B = 64


def drawn(recipe, n, *, size=96):
    """The numbers of n images, (views, n, P)."""
    sizes = torch.full((n, 2), size)
    return sample(recipe, seed=0, epoch=0, positions=torch.arange(n), sizes=sizes)


def views_of(image, **fields):
    """Views (2, B, 3, s, s) of one image, and the labels of their numbers, with no other operation switched on."""
    recipe = dataclasses.replace(NOTHING, **fields)
    images = image.expand(B, *image.shape)
    sizes = torch.tensor(image.shape[1:]).expand(B, 2)
    views = make_views(Batch(images=images, sizes=sizes, positions=torch.arange(B), epoch=0), recipe, seed=0)
    return views.images.double(), views.params, Labels(recipe)


def flat(*color, size=32):
    return torch.tensor(color).view(3, 1, 1).expand(3, size, size)


def ramps(height, width):
    """Red is the place from left to right, green that from top to bottom, in [0, 1]."""
    red = ((torch.arange(width) + 0.5) / width).expand(height, width)
    green = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    return torch.stack([red, green, torch.zeros(height, width)])


def slopes(views, channel):
    """Change of a channel over a whole view to the right and upward, read in the middle half."""
    size = views.shape[-1]
    middle = views[..., channel, size // 4 : 3 * size // 4, size // 4 : 3 * size // 4]
    right = middle.diff(dim=-1).mean(dim=(-1, -2)) * size
    up = -middle.diff(dim=-2).mean(dim=(-1, -2)) * size
    return right, up


def close(found, expected, *, atol):
    torch.testing.assert_close(found.double(), expected.double(), rtol=0, atol=atol)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (60, 80)])
def test_place_and_size_of_a_crop(height, width):
    """A view larger than the image keeps its ramps straight."""
    views, params, labels = views_of(
        ramps(height, width), size=96, crop=Crop(scale=(0.3, 1.0)), flip=0.5, targets=("crop",)
    )
    middle = views[..., 47:49, 47:49].mean(dim=(-1, -2))
    wide, tall = slopes(views, 0)[0], -slopes(views, 1)[1]
    mirrored = wide < 0
    assert mirrored.any()
    assert not mirrored.all()
    x = torch.where(mirrored, 1 - middle[..., 0], middle[..., 0])
    seen = torch.stack([middle[..., 1], x, tall, wide.abs()], dim=-1)
    assert labels.names == ("crop.center_y", "crop.center_x", "crop.height", "crop.width")
    close(labels.absolute(params), seen, atol=1e-5)
    close(labels.relative(*params), seen[1] - seen[0], atol=1e-5)


def test_flip():
    views, params, labels = views_of(ramps(32, 32), flip=0.5, targets=("flip",))
    mirrored = slopes(views, 0)[0] < 0
    assert torch.equal(labels.absolute(params)[..., 0], mirrored.float())
    assert torch.equal(labels.relative(*params)[..., 0], (mirrored[0] != mirrored[1]).float())
    assert labels.relative(*params).unique().tolist() == [0, 1]


def test_quarter_turn():
    views, params, labels = views_of(ramps(32, 32), quarter_turns=0.75, targets=("quarter_turn",))
    right, up = slopes(views, 0)  # where the image's right now lies
    close(labels.absolute(params), torch.stack([right, up], dim=-1), atol=1e-5)
    angle = torch.atan2(up, right)
    turned = angle[1] - angle[0]
    close(labels.relative(*params), torch.stack([turned.cos(), turned.sin()], dim=-1), atol=1e-5)
    assert labels.names == ("quarter_turn.cos", "quarter_turn.sin")


def test_rotation():
    views, params, labels = views_of(ramps(32, 32), rotation=Rotation(degrees=40.0, p=0.7), targets=("rotation",))
    right, up = slopes(views, 0)
    seen = torch.rad2deg(torch.atan2(up, right)) / 80
    close(labels.absolute(params)[..., 0], seen, atol=1e-4)
    close(labels.relative(*params)[..., 0], seen[1] - seen[0], atol=1e-4)


@pytest.mark.parametrize("reach", [0.3, 1.2])
@pytest.mark.parametrize("factor", FACTORS)
def test_jitter_factor(factor, reach):
    others = {name: reach * (name == factor) for name in FACTORS}
    dark, light = 0.2, 0.3
    left = torch.arange(32) < 16
    image = {
        "brightness": flat(light, light, light),
        "contrast": torch.where(left, dark, light).expand(3, 32, 32),
        "saturation": flat(light, dark, light),
    }[factor]
    views, params, labels = views_of(image, jitter=ColorJitter(**others, hue=0.0, p=0.7), targets=("jitter",))
    seen = {
        "brightness": lambda: views.mean(dim=(-1, -2, -3)) / light,
        "contrast": lambda: (views[..., 16:] - views[..., :16]).mean(dim=(-1, -2, -3)) / (light - dark),
        "saturation": lambda: (views[..., 0, :, :] - views[..., 1, :, :]).mean(dim=(-1, -2)) / (light - dark),
    }[factor]()
    largest, smallest = 1 + reach, max(0, 1 - reach)
    seen = (seen - 1) / (largest - smallest)
    assert labels.names == (f"jitter.{factor}",)
    close(labels.absolute(params)[..., 0], seen, atol=1e-5)
    close(labels.relative(*params)[..., 0], seen[1] - seen[0], atol=1e-5)


def test_jitter_hue():
    color = (0.7, 0.3, 0.4)
    views, params, labels = views_of(
        flat(*color), jitter=ColorJitter(brightness=0, contrast=0, saturation=0, hue=0.2, p=0.7), targets=("jitter",)
    )
    before = colorsys.rgb_to_hsv(*color)[0]
    hues = [[colorsys.rgb_to_hsv(*row)[0] - before for row in view] for view in views[..., 0, 0].tolist()]
    seen = (torch.tensor(hues, dtype=torch.float64) + 0.5).remainder(1) - 0.5
    assert labels.names == ("jitter.hue",)
    close(labels.absolute(params)[..., 0], seen / 0.4, atol=1e-5)
    close(labels.relative(*params)[..., 0], (seen[1] - seen[0]) / 0.4, atol=1e-5)


def test_grayscale():
    views, params, labels = views_of(flat(0.7, 0.3, 0.4), grayscale=0.4, targets=("grayscale",))
    gray = views[..., 0, 0, 0] == views[..., 1, 0, 0]
    assert torch.equal(labels.absolute(params)[..., 0], gray.float())
    assert torch.equal(labels.relative(*params)[..., 0], (gray[0] != gray[1]).float())


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6])
def test_solarize(threshold):
    solarize = Solarize(threshold=threshold, p=0.4)
    views, params, labels = views_of(flat(0.7, 0.7, 0.7), solarize=solarize, targets=("solarize",))
    inverted = views[..., 0, 0, 0] < 0.5
    assert torch.equal(labels.absolute(params)[..., 0], inverted.float())
    assert torch.equal(labels.relative(*params)[..., 0], (inverted[0] != inverted[1]).float())


def test_blur():
    """An edge blurred with a Gaussian has it as its slope, of which this is the standard deviation."""
    edge = (torch.arange(64) >= 32).float().expand(3, 64, 64)
    blur = GaussianBlur(kernel=31, sigma=(1.0, 3.0), p=0.7)
    views, params, labels = views_of(edge, size=64, blur=blur, targets=("blur",))
    slope = views[..., 0, 32, :].diff(dim=-1)
    place = torch.arange(63) - 31.0
    seen = ((slope * place**2).sum(dim=-1) / slope.sum(dim=-1)).sqrt() / 3
    assert (seen == 0).any()
    close(labels.absolute(params)[..., 0], seen, atol=1e-4)
    close(labels.relative(*params)[..., 0], seen[1] - seen[0], atol=1e-4)


@pytest.mark.parametrize(("targets", "width"), [("crop", 4), ("color", 4), ("crop+color", 8), ("all", 11)])
def test_numbers_of_the_paper(targets, width):
    labels = Labels(dataclasses.replace(PAPER, targets=TARGETS[targets]))
    params = drawn(PAPER, 6)
    assert labels.width == len(labels.names) == len(labels.ranges_absolute) == len(labels.ranges_relative) == width
    assert labels.absolute(params).shape == (2, 6, width)
    assert labels.relative(*params).shape == (6, width)
    assert [labels.names[part] for part in labels.groups.values()] == [
        tuple(name for name in labels.names if name.split(".")[0] == group) for group in labels.groups
    ]


def test_groups():
    labels = Labels(EVERYTHING)
    assert list(labels.groups) == [name for name in NAMES if name != "augmix"]
    assert [part.stop - part.start for part in labels.groups.values()] == [4, 1, 2, 1, 4, 1, 1, 1]
    assert labels.binary == {"flip", "grayscale", "solarize"}
    assert Labels(dataclasses.replace(PAPER, targets=NAMES)).binary == {"flip", "grayscale"}
    assert labels.names == (
        *("crop.center_y", "crop.center_x", "crop.height", "crop.width", "flip", "quarter_turn.cos"),
        *("quarter_turn.sin", "rotation", "jitter.brightness", "jitter.contrast", "jitter.saturation", "jitter.hue"),
        *("grayscale", "blur", "solarize"),
    )


def test_order_of_targets_and_partners_play_no_role():
    recipe = dataclasses.replace(PAPER, targets=("jitter", "crop"), partners=False)
    params = drawn(PAPER, 6)
    assert Labels(recipe).names == Labels(PAPER).names
    assert torch.equal(Labels(recipe).absolute(params), Labels(PAPER).absolute(params))


def test_are_a_value():
    labels = Labels(EVERYTHING)
    labels.absolute(drawn(EVERYTHING, 2))
    for copied in (copy.deepcopy(labels), pickle.loads(pickle.dumps(labels)), Labels(EVERYTHING)):
        assert copied == labels
        assert hash(copied) == hash(labels)
        assert copied.names == labels.names


@pytest.mark.parametrize(
    ("fields", "targets"),
    [
        ({}, ()),
        ({}, tuple(name for name in NAMES if name != "crop")),
        ({"rotation": Rotation(degrees=0.0, p=0.5)}, ("rotation",)),
        ({"jitter": ColorJitter(brightness=0, contrast=0, saturation=0, hue=0)}, ("jitter",)),
    ],
)
def test_nothing_to_label(fields, targets):
    recipe = dataclasses.replace(NOTHING, **fields, targets=targets)
    with pytest.raises(InputError, match=r"Nothing to label: no target \(.+\) is switched on; name operations that"):
        Labels(recipe)


def test_exchanging_the_views():
    labels = Labels(EVERYTHING)
    source, target = drawn(EVERYTHING, 200)
    there, back = labels.relative(source, target), labels.relative(target, source)
    symmetric = {*labels.binary, "quarter_turn.cos"}
    sign = torch.tensor([1.0 if name in symmetric else -1.0 for name in labels.names])
    assert torch.equal(there, sign * back)
    same = labels.relative(source, source)
    assert torch.equal(same, torch.tensor([float(name == "quarter_turn.cos") for name in labels.names]).expand_as(same))


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_ranges_hold_the_labels_and_are_filled(kind):
    labels, params = Labels(EVERYTHING), drawn(EVERYTHING, 10_000, size=224)
    found = {"absolute": labels.absolute(params).flatten(0, 1), "relative": labels.relative(*params)}[kind]
    ranges = {"absolute": labels.ranges_absolute, "relative": labels.ranges_relative}[kind]
    for name, (low, high), column in zip(labels.names, ranges, found.unbind(1), strict=True):
        smallest, largest = float(column.min()), float(column.max())
        assert low - 1e-6 <= smallest, name
        assert largest <= high + 1e-6, name
        assert largest - smallest > 0.7 * (high - low), name
        if name in labels.binary:
            assert column.unique().tolist() == [0, 1]


def test_mean_predictor_of_the_paper():
    """The errors of a prediction without knowledge, near which the paper's table 5 has SimCLR's (.02, .13, .08)."""
    params = drawn(PAPER, 100_000)
    labels = Labels(PAPER)
    error = labels.relative(*params).var(dim=0, correction=0)
    crop, jitter = (float(error[labels.groups[name]].mean()) for name in ("crop", "jitter"))
    assert crop == pytest.approx(0.0319, abs=0.0005)
    assert jitter == pytest.approx(0.1335, abs=0.0008)
    assert float(error.mean()) == pytest.approx(0.0828, abs=0.0006)


DEPENDS = {
    ("crop", 0): {"crop.center_y"},
    ("crop", 1): {"crop.center_x"},
    ("crop", 2): {"crop.center_y", "crop.height"},
    ("crop", 3): {"crop.center_x", "crop.width"},
    ("flip", 0): {"crop.center_x", "flip"},
    ("turn", 0): {"quarter_turn.cos", "quarter_turn.sin"},
    ("angle", 0): {"rotation"},
    **{(name, 0): {f"jitter.{name}"} for name in (*FACTORS, "hue")},
    ("order", 0): set(),
    ("grayscale", 0): {"grayscale"},
    ("blur", 0): {"blur"},
    ("solarize", 0): {"solarize"},
}


@pytest.mark.parametrize(("column", "place"), DEPENDS)
def test_nan_reaches_every_label_that_depends_on_it(column, place):
    labels, params = Labels(EVERYTHING), drawn(EVERYTHING, 4)
    params[1, 2, COLUMNS[column].start + place] = math.nan
    absolute = labels.absolute(params)
    wrong = {name for name, number in zip(labels.names, absolute[1, 2].tolist(), strict=True) if math.isnan(number)}
    assert wrong == DEPENDS[column, place]
    assert int(absolute.isnan().sum()) == len(wrong)
    for source, target in itertools.permutations(params):
        assert torch.equal(labels.relative(source, target).isnan(), absolute[1].isnan())
