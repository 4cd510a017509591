"""AugMix: against the published algorithm written with Pillow, image by image, and the distributions of its numbers."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from covary.augment import AUGMIX_OPERATIONS, COLUMNS, AugMix, Recipe, sample
from covary.augment.augmix import augment_and_mix, dirichlet, draw
from covary.errors import InputError

PLAIN = AugMix(p=1.0)
N = 10_000


def numbers_of(augmix, n=N, seed=0):
    return draw(augmix, torch.rand(n, augmix.slots, generator=torch.Generator().manual_seed(seed)))


def named(numbers, augmix):
    return dict(zip(augmix.widths, numbers.split(list(augmix.widths.values()), dim=-1), strict=True))


def recipe_of(augmix, **fields):
    return Recipe(size=32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.2), augmix=augmix, **fields)


def images_of(n, size):
    """Float images in [0, 1], half of them smooth, half noisy, between the 255ths."""
    generator = torch.Generator().manual_seed(size)
    coarse = torch.rand(n, 3, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")
    images[::2] = 0.7 * images[::2] + 0.3 * torch.rand(n // 2, 3, size, size, generator=generator)
    return images


def pillow_operation(image, name, level):
    """One operation as published; the sign of the level is the sign that is drawn for it."""
    size, sign, level = image.size[0], 1 if level > 0 else -1, abs(level)
    bilinear = Image.Resampling.BILINEAR

    def transform(matrix):
        return image.transform((size, size), Image.Transform.AFFINE, matrix, resample=bilinear)

    if name in ("autocontrast", "equalize"):
        return getattr(ImageOps, name)(image)
    if name == "posterize":
        return ImageOps.posterize(image, 4 - int(level * 4 / 10))
    if name == "solarize":
        return ImageOps.solarize(image, 256 - int(level * 256 / 10))
    if name == "rotate":
        return image.rotate(sign * int(level * 30 / 10), resample=bilinear)
    shear, shift = sign * (level * 0.3 / 10), sign * int(level * (size / 3) / 10)
    match name:
        case "shear_x":
            return transform((1, shear, 0, 0, 1, 0))
        case "shear_y":
            return transform((1, 0, 0, shear, 1, 0))
        case "translate_x":
            return transform((1, 0, shift, 0, 1, 0))
        case "translate_y":
            return transform((1, 0, 0, 0, 1, shift))
    return getattr(ImageEnhance, name.capitalize())(image).enhance(level * 1.8 / 10 + 0.1)


def naive_augmix(image, numbers, augmix):
    """One image through the published algorithm, float64, with numbers given as lists."""
    start = Image.fromarray((255 * image.permute(1, 2, 0)).round().to(torch.uint8).numpy())
    total = np.zeros(np.array(start).shape)
    for chain in range(augmix.width):
        current = start
        for place in range(chain * augmix.steps, (chain + 1) * augmix.steps):
            operation = int(numbers["augmix_operation"][place])
            if operation >= 0:
                current = pillow_operation(current, AUGMIX_OPERATIONS[operation], numbers["augmix_level"][place])
        total += numbers["augmix_weight"][chain] * np.array(current) / 255
    (m,) = numbers["augmix_mix"]
    return torch.from_numpy((1 - m) * np.array(start) / 255 + m * total).permute(2, 0, 1).float()


@pytest.mark.parametrize(
    "augmix",
    [
        PLAIN,
        AugMix(p=1.0, severity=1.0),
        AugMix(p=1.0, severity=10.0, all_ops=True),
        AugMix(p=1.0, width=1, depth=2, alpha=0.5, all_ops=True),
        AugMix(p=1.0, width=4, depth=1),
    ],
    ids=["default", "imagenet", "strong", "one chain", "four chains"],
)
@pytest.mark.parametrize("size", [33, 96])
def test_whole_algorithm_equals_the_published_one(augmix, size):
    """Equal but for float32 where no operation moves pixels; bilinear means may be truncated to the next lower 255th,
    which a later threshold or equalization of the same chain can make more of, at few pixels.
    """
    n = 32
    images, numbers = images_of(n, size), numbers_of(augmix, n, seed=size)
    result = augment_and_mix(images.clone(), numbers, augmix=augmix)
    rows = [{name: column[i].tolist() for name, column in named(numbers, augmix).items()} for i in range(n)]
    expected = torch.stack([naive_augmix(image, row, augmix) for image, row in zip(images, rows, strict=True)])
    error = (result - expected).abs()
    moving = [AUGMIX_OPERATIONS.index(name) for name in ("rotate", "shear_x", "shear_y")]
    moved = torch.isin(named(numbers, augmix)["augmix_operation"].long(), torch.tensor(moving)).any(dim=1)
    assert 0 < moved.sum() < n
    assert error[~moved].max() < 1e-6
    assert (error > 1.01 / 255).float().mean() < 1e-3
    assert error.mean() < 1e-4


def test_level_and_sign_and_operations_are_uniform():
    numbers = named(numbers_of(AugMix(p=1.0, all_ops=True)), PLAIN)
    operation, level = numbers["augmix_operation"], numbers["augmix_level"]
    used = operation >= 0
    assert torch.equal(used, level != 0)
    assert stats.kstest(level[used].abs().numpy(), stats.uniform(0.1, 2.9).cdf).pvalue > 1e-3
    assert stats.binomtest(int((level > 0).sum()), int(used.sum())).pvalue > 1e-3
    assert stats.chisquare(torch.bincount(operation[used].long(), minlength=13).numpy()).pvalue > 1e-3
    few = named(numbers_of(PLAIN), PLAIN)["augmix_operation"]
    counts = torch.bincount(few[few >= 0].long())
    assert len(counts) == 9
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_depth_is_uniform_on_one_to_three():
    used = named(numbers_of(PLAIN), PLAIN)["augmix_operation"].view(N, 3, 3) >= 0
    depth = used.sum(dim=2)
    assert torch.equal(used, torch.arange(3) < depth[..., None])
    for chain in range(3):
        counts = torch.bincount(depth[:, chain], minlength=4)
        assert counts[0] == 0
        assert stats.chisquare(counts[1:].numpy()).pvalue > 1e-3
    joint = torch.bincount(3 * depth[:, 0] + depth[:, 1] - 4, minlength=9)
    assert stats.chisquare(joint.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_depth_that_is_set_is_that_of_every_chain(depth):
    augmix = AugMix(p=1.0, depth=depth)
    numbers = named(numbers_of(augmix, 100), augmix)
    assert numbers["augmix_operation"].shape == (100, 3 * depth)
    assert (numbers["augmix_operation"] >= 0).all()


@pytest.mark.parametrize("width", [2, 3])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_weights_follow_dirichlet_and_m_follows_beta(alpha, width):
    augmix = AugMix(p=1.0, alpha=alpha, width=width)
    numbers = named(numbers_of(augmix), augmix)
    weight, m = numbers["augmix_weight"].numpy(), numbers["augmix_mix"].squeeze(1).numpy()
    np.testing.assert_allclose(weight.sum(axis=1), 1, atol=1e-6)
    for column in weight.T:
        assert stats.kstest(column, stats.beta(alpha, alpha * (width - 1)).cdf).pvalue > 1e-3
    assert stats.kstest(m, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    assert abs(stats.pearsonr(weight[:, 0], m).statistic) < 0.05


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 3.7, 100.0])
def test_dirichlet_inverts_the_gamma_distribution(alpha):
    uniform = torch.rand(50, 3, generator=torch.Generator().manual_seed(1))
    uniform[0], uniform[1, 0], uniform[1, 1] = 0, 0, 1 - 2.0**-24
    gamma = stats.gamma(alpha).ppf(uniform.double().numpy() + 2.0**-25)
    expected = torch.from_numpy(gamma / gamma.sum(axis=1, keepdims=True))
    torch.testing.assert_close(dirichlet(uniform, alpha), expected, rtol=1e-6, atol=1e-12)


def test_p_is_the_probability_of_being_augmixed():
    augmix = AugMix(p=0.3)
    numbers = numbers_of(augmix)
    mix = named(numbers, augmix)["augmix_mix"].squeeze(1)
    assert stats.binomtest(int((mix > 0).sum()), N, 0.3).pvalue > 1e-3
    off = torch.cat([torch.zeros(4), -torch.ones(9), torch.zeros(9)])
    assert torch.equal(numbers[mix == 0], off.expand(int((mix == 0).sum()), -1))


def test_columns_follow_the_others_and_are_there_only_when_needed():
    assert recipe_of(AugMix()).columns == COLUMNS
    augmix = AugMix(p=0.5, width=2, depth=4)
    columns = recipe_of(augmix).columns
    assert {name: columns[name] for name in COLUMNS} == COLUMNS
    assert list(columns.values())[len(COLUMNS) :] == [slice(15, 17), slice(17, 18), slice(18, 26), slice(26, 34)]
    sizes = torch.full((4, 2), 32)
    for recipe, width in ((recipe_of(AugMix()), 15), (recipe_of(augmix), 34)):
        assert sample(recipe, seed=0, epoch=0, positions=torch.arange(4), sizes=sizes).shape == (2, 4, width)


def test_partners_share_every_number_and_pairs_share_none():
    sizes = torch.full((2 * N, 2), 32)
    aligned, own = (
        sample(recipe, seed=0, epoch=0, positions=torch.arange(2 * N), sizes=sizes)[..., COLUMNS["solarize"].stop :]
        for recipe in (recipe_of(PLAIN, targets=("augmix",), partners=True), recipe_of(PLAIN))
    )
    weight = slice(0, 4)  # of continuous distributions, m included
    assert torch.equal(aligned[:, 0::2], aligned[:, 1::2])
    assert (aligned != aligned.roll(2, dims=1))[..., weight].any(dim=-1).all()
    assert (own[:, 0::2] != own[:, 1::2])[..., weight].any(dim=-1).all()
    for numbers in (aligned, own):
        assert (numbers[0] != numbers[1])[..., weight].any(dim=-1).all()


def test_switching_it_on_leaves_all_other_numbers():
    sizes = torch.full((64, 2), 48)
    for targets in ((), ("crop", "augmix")):
        off, on = (
            sample(
                recipe_of(augmix, targets=targets, partners=bool(targets)),
                seed=3,
                epoch=1,
                positions=torch.arange(64),
                sizes=sizes,
            )
            for augmix in (AugMix(), PLAIN)
        )
        assert torch.equal(on[..., :15], off)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"p": 1.5}, "augmix.p is 1.5; expected a number from 0 to 1."),
        ({"width": 0}, "augmix.width is 0; expected 1 chain or more."),
        ({"depth": -1}, "augmix.depth is -1; expected 1 or more, or 0 to draw it."),
        ({"severity": 0.0}, "augmix.severity is 0.0; expected a number from 0.1 to 10."),
        ({"severity": float("nan")}, "augmix.severity is nan"),
        ({"alpha": 0.0}, "augmix.alpha is 0.0; expected a number from 0.05 to 100."),
    ],
)
def test_wrong_values_say_what_to_change(fields, message):
    with pytest.raises(InputError) as error:
        AugMix(**fields)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_mixtures_of_the_cpu():
    augmix = AugMix(p=1.0, all_ops=True)
    images, numbers = images_of(64, 96), numbers_of(augmix, 64)
    on_cpu, on_cuda = (augment_and_mix(images.to(device), numbers, augmix=augmix).cpu() for device in ("cpu", "cuda"))
    assert ((on_cpu - on_cuda).abs() > 1.01 / 255).float().mean() < 1e-3
