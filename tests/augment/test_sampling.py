import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from covary import keyed
from covary.augment import COLUMNS, AugMix, ColorJitter, Crop, GaussianBlur, Recipe, Rotation, Solarize, sample
from covary.augment.recipe import NAMES
from covary.augment.sampling import TOTAL_SLOTS
from covary.errors import InputError

EVERYTHING = Recipe(
    size=32,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    quarter_turns=0.75,
    rotation=Rotation(degrees=30.0, p=0.5),
    solarize=Solarize(threshold=0.5, p=0.3),
    augmix=AugMix(p=0.5),
)
NOTHING = dataclasses.replace(
    EVERYTHING,
    crop=Crop(scale=(1.0, 1.0), ratio=(1.0, 1.0)),
    flip=0.0,
    quarter_turns=0.0,
    rotation=Rotation(p=0.0),
    jitter=ColorJitter(p=0.0),
    grayscale=0.0,
    blur=GaussianBlur(p=0.0),
    solarize=Solarize(p=0.0),
    augmix=AugMix(p=0.0),
)
COLUMNS_OF = {
    "crop": ("crop",),
    "flip": ("flip",),
    "quarter_turn": ("turn",),
    "rotation": ("angle",),
    "jitter": ("brightness", "contrast", "saturation", "hue", "order"),
    "grayscale": ("grayscale",),
    "blur": ("blur",),
    "solarize": ("solarize",),
    "augmix": tuple(EVERYTHING.augmix.widths),
}
N = 20_000


def draw(recipe, n=N, *, height=96, width=96, seed=0, epoch=0):
    sizes = torch.tensor([height, width]).expand(n, 2)
    return sample(recipe, seed=seed, epoch=epoch, positions=torch.arange(n), sizes=sizes)


def columns_of(params, name):
    return torch.cat([params[..., EVERYTHING.columns[column]] for column in COLUMNS_OF[name]], dim=-1)


def column(params, name):
    return params[..., COLUMNS[name]].squeeze(-1)


def naive_box(u, crop, height, width):
    """torchvision's RandomResizedCrop.make_params with the uniform numbers given."""
    for area_u, ratio_u in zip(u[:10], u[10:20], strict=True):
        area = height * width * (crop.scale[0] + (crop.scale[1] - crop.scale[0]) * area_u)
        low, high = math.log(crop.ratio[0]), math.log(crop.ratio[1])
        ratio = math.exp(low + (high - low) * ratio_u)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return math.floor(u[20] * (height - h + 1)), math.floor(u[21] * (width - w + 1)), h, w
    if width / height < crop.ratio[0]:
        w, h = width, round(width / crop.ratio[0])
    elif width / height > crop.ratio[1]:
        w, h = round(height * crop.ratio[1]), height
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(("height", "width"), [(96, 96), (37, 60), (200, 20), (20, 200), (3, 3), (1, 1)])
def test_boxes_equal_the_loop_over_attempts(height, width):
    n = 500
    params = draw(EVERYTHING, n, height=height, width=width, seed=5, epoch=2)
    for view in range(2):
        words = keyed.uniform(seed=5, stream="augment", epoch=2, position=torch.arange(n), view=view, slots=TOTAL_SLOTS)
        expected = [naive_box(u, EVERYTHING.crop, height, width) for u in words[:, :22].double().tolist()]
        pixels = params[view, :, COLUMNS["crop"]] * torch.tensor([height, width, height, width])
        assert torch.equal(pixels.round().long(), torch.tensor(expected))


@pytest.mark.parametrize(("height", "width"), [(96, 96), (60, 100)])
def test_boxes_follow_the_distribution_of_torchvision(height, width):
    torch.manual_seed(0)
    theirs = v2.RandomResizedCrop(32, scale=EVERYTHING.crop.scale, ratio=EVERYTHING.crop.ratio)
    image = torch.empty(3, height, width)
    boxes = [theirs.make_params([image]) for _ in range(3_000)]
    ours = draw(EVERYTHING, height=height, width=width)[0, :, COLUMNS["crop"]].double().numpy()
    ours = (ours * [height, width, height, width]).round()
    for place, name in enumerate(("top", "left", "height", "width")):
        expected = np.array([box[name] for box in boxes], dtype=float)
        assert stats.ks_2samp(ours[:, place], expected).pvalue > 1e-3


def test_jitter_follows_the_distribution_of_torchvision():
    torch.manual_seed(0)
    jitter = dataclasses.replace(EVERYTHING.jitter, brightness=1.5, p=1.0)
    theirs = v2.ColorJitter(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    expected = [theirs.make_params([]) for _ in range(3_000)]
    params = draw(dataclasses.replace(EVERYTHING, jitter=jitter))[0]
    for name in ("brightness", "contrast", "saturation", "hue"):
        factors = [float(numbers[f"{name}_factor"]) for numbers in expected]
        assert stats.ks_2samp(column(params, name).numpy(), factors).pvalue > 1e-3
    counts = torch.bincount(column(params, "order").long(), minlength=24)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_other_numbers_follow_their_ranges():
    params = draw(EVERYTHING)
    angle, sigma = column(params, "angle"), column(params, "blur")
    turns = torch.bincount(column(params, "turn").long().flatten())
    assert stats.chisquare(turns.numpy()).pvalue > 1e-3
    assert len(turns) == 4
    assert stats.kstest(angle[angle != 0], stats.uniform(-30, 60).cdf).pvalue > 1e-3
    assert stats.kstest(sigma[sigma != 0], stats.uniform(0.1, 1.9).cdf).pvalue > 1e-3
    jittered = column(params, "brightness") != 1
    applied = {
        "flip": (column(params, "flip"), 0.5),
        "rotation": (angle != 0, 0.5),
        "jitter": (jittered, 0.8),
        "grayscale": (column(params, "grayscale"), 0.2),
        "blur": (sigma != 0, 0.5),
        "solarize": (column(params, "solarize") == 0.5, 0.3),
    }
    for chosen, p in applied.values():
        assert abs(chosen.double().mean() - p) < 4 * math.sqrt(p * (1 - p) / (2 * N))
    unchanged = params.new_tensor([1, 1, 1, 0, 0]).expand(int((~jittered).sum()), 5)
    assert torch.equal(columns_of(params, "jitter")[~jittered], unchanged)


def test_operations_with_probability_zero_are_off():
    params = draw(NOTHING, 64)
    identity = params.new_tensor([0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1])
    assert torch.equal(params, identity.expand(2, 64, -1))


@pytest.mark.parametrize("mixed", [False, True], ids=["one size", "mixed sizes"])
@pytest.mark.parametrize("name", NAMES)
def test_partners_share_aligned_numbers_and_nothing_else(name, mixed):
    n = 2_000
    recipe = dataclasses.replace(EVERYTHING, targets=(name,), partners=True)
    generator = torch.Generator().manual_seed(1)
    sizes = torch.randint(20, 90, (n, 2), generator=generator) if mixed else torch.full((n, 2), 64)
    params = sample(recipe, seed=0, epoch=0, positions=torch.arange(n), sizes=sizes)
    assert torch.equal(columns_of(params, name)[:, 0::2], columns_of(params, name)[:, 1::2])
    for other in NAMES:
        numbers = columns_of(params, other)
        assert (numbers != numbers.roll(2, dims=1)).any(dim=-1).float().mean() > 0.2
        if other != name:
            assert (numbers[:, 0::2] != numbers[:, 1::2]).any(dim=-1).float().mean() > 0.2


def test_numbers_depend_on_seed_epoch_and_view_and_not_on_the_batch():
    recipe = dataclasses.replace(EVERYTHING, targets=("crop", "jitter"), partners=True)
    whole = draw(recipe, 64)
    positions, sizes = torch.arange(16, 32), torch.full((16, 2), 96)
    assert torch.equal(sample(recipe, seed=0, epoch=0, positions=positions, sizes=sizes), whole[:, 16:32])
    for change in (draw(recipe, 64, seed=1), draw(recipe, 64, epoch=1), whole.flip(0)):
        assert (change != whole).any(dim=2).all()


def test_one_operation_leaves_the_numbers_of_the_others():
    changed = draw(dataclasses.replace(EVERYTHING, blur=GaussianBlur(p=0.9, sigma=(1.0, 3.0)), flip=0.1), 64)
    kept = [name for name in NAMES if name not in ("blur", "flip")]
    for name in kept:
        assert torch.equal(columns_of(changed, name), columns_of(draw(EVERYTHING, 64), name))


@pytest.mark.parametrize(
    ("positions", "message"),
    [([0, 1, 2], "without a partner"), ([1, 2], "partners next to each other"), ([0, 2], "partners next to")],
)
def test_rows_that_are_no_partners_are_refused(positions, message):
    recipe = dataclasses.replace(EVERYTHING, targets=("flip",), partners=True)
    sizes = torch.full((len(positions), 2), 32)
    with pytest.raises(InputError, match=message):
        sample(recipe, seed=0, epoch=0, positions=torch.tensor(positions), sizes=sizes)
    unaligned = sample(EVERYTHING, seed=0, epoch=0, positions=torch.tensor(positions), sizes=sizes)
    assert unaligned.shape == (2, len(positions), 15 + 22)
