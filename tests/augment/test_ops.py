"""Each operation against torchvision's functional, row by row, and filters against their formula in float64."""

import math

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from covary.augment import ops

FLOAT_TOLERANCE = 1e-5
FACTORS = [0.0, 0.3, 0.8, 1.0, 1.4, 2.0]
BOXES = [(0, 0, 50, 60), (3, 5, 20, 30), (10, 10, 40, 50), (49, 59, 1, 1), (0, 0, 3, 60), (7, 9, 43, 2)]
FLIPS = [False, True, False, True, False, True]


@pytest.fixture
def pixels():
    """Six uint8 images of 50 x 60: noise, gray, black and white, primary colours, a ramp, few levels."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 3, 50, 60), generator=generator, dtype=torch.uint8)
    images[1] = images[1, :1]
    images[2, :, :25], images[2, :, 25:] = 0, 255
    images[3] = images[3] // 128 * 255
    images[4] = torch.arange(0, 240, 4, dtype=torch.uint8)
    images[5] = images[5] // 64 * 64
    return images


def unit(pixels):
    return pixels.float() / 255


def assert_equals_torchvision(result, oracle, pixels, numbers, *, steps=1):
    """Compare with torchvision on float images, and on uint8 images, where it rounds or truncates ``steps`` times."""
    exact = torch.stack([oracle(image, row) for image, row in zip(unit(pixels), numbers, strict=True)])
    rounded = torch.stack([oracle(image, row) for image, row in zip(pixels, numbers, strict=True)])
    torch.testing.assert_close(result, exact, rtol=0, atol=FLOAT_TOLERANCE)
    torch.testing.assert_close(result, unit(rounded), rtol=0, atol=steps / 255 + 1e-6)


def crop(images, boxes, flips, size):
    top, left, height, width = torch.tensor(boxes).unbind(1)
    flip = torch.tensor(flips)
    h, w = images.shape[2:]
    vertical = ops.crop_taps(top, height, flip & False, size=size, reach=ops.tap_reach(h, size))
    horizontal = ops.crop_taps(left, width, flip, size=size, reach=ops.tap_reach(w, size))
    return ops.resample(images, vertical, horizontal)


@pytest.mark.parametrize("size", [2, 7, 32, 96])
def test_crop_and_flip(pixels, size):
    def oracle(image, numbers):
        box, flip = numbers
        view = tv.resized_crop(image, *box, [size, size], antialias=True)
        return tv.horizontal_flip(view) if flip else view

    result = crop(unit(pixels), BOXES, FLIPS, size)
    assert_equals_torchvision(result, oracle, pixels, list(zip(BOXES, FLIPS, strict=True)))
    torch.testing.assert_close(crop(pixels, BOXES, FLIPS, size) / 255, result, rtol=0, atol=1e-6)


def naive_crop_weights(start, length, size, extent):
    """Antialiased bilinear weights of one axis from the formula, float64 (size, extent)."""
    weights = torch.zeros(size, extent, dtype=torch.float64)
    scale = length / size
    for i in range(size):
        for j in range(length):
            weights[i, start + j] = max(0.0, 1 - abs(j + 0.5 - (i + 0.5) * scale) / max(scale, 1.0))
        weights[i] /= weights[i].sum()
    return weights


def test_crop_equals_its_formula_in_float64(pixels):
    images = pixels.double() / 255
    for image, (top, left, height, width), row in zip(
        images, BOXES, crop(unit(pixels), BOXES, [False] * 6, 16), strict=True
    ):
        vertical, horizontal = (
            naive_crop_weights(top, height, 16, 50),
            naive_crop_weights(left, width, 16, 60),
        )
        expected = torch.einsum("ih,chw,jw->cij", vertical, image, horizontal)
        torch.testing.assert_close(row.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", [1, 3, 9, 23])
def test_blur(pixels, kernel):
    squares, sigma = pixels[..., :50], [0.1, 0.3, 0.5, 1.0, 1.5, 2.0]
    result = ops.blur(unit(squares), torch.tensor(sigma), kernel=kernel)
    assert_equals_torchvision(
        result, lambda image, s: tv.gaussian_blur(image, [kernel, kernel], [s, s]), squares, sigma
    )


def test_blur_equals_its_formula_in_float64(pixels):
    sigma, kernel, size = 0.7, 5, 50
    weights = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        for k in range(-2, 3):
            mirrored = min(abs(i + k), 2 * (size - 1) - abs(i + k))
            weights[i, mirrored] += math.exp(-(k**2) / (2 * sigma**2))
    weights /= weights.sum(dim=1, keepdim=True)
    image = pixels[:1, :, :, :50]
    expected = weights @ (image.double() / 255) @ weights.T
    result = ops.blur(unit(image), torch.tensor([sigma]), kernel=kernel)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "steps"),
    [("brightness", 1), ("contrast", 2), ("saturation", 1)],  # contrast truncates its mean and its result
)
def test_factors(pixels, name, steps):
    adjust = {"brightness": ops.brighten_, "contrast": ops.contrast_, "saturation": ops.saturate_}[name]
    oracle = getattr(tv, f"adjust_{name}")
    assert_equals_torchvision(adjust(unit(pixels), torch.tensor(FACTORS)), oracle, pixels, FACTORS, steps=steps)
    assert torch.equal(adjust(unit(pixels), torch.ones(6)), unit(pixels))


def test_grayscale(pixels):
    gray = ops.grayscale(unit(pixels))
    assert_equals_torchvision(gray, lambda image, _: tv.rgb_to_grayscale(image, 3), pixels, FACTORS)


@pytest.mark.parametrize(
    "turns", [[-0.5, -0.2, -0.02, 0.0, 0.1, 0.5], [0.03, -0.1, 0.25, 0.5, -0.4, 1 / 3]], ids=["wide", "mixed"]
)
def test_shift_hue(pixels, turns):
    assert_equals_torchvision(ops.shift_hue_(unit(pixels), torch.tensor(turns)), tv.adjust_hue, pixels, turns)


@pytest.mark.parametrize("angles", [[0.0, 30.0, -45.0, 7.5, 123.0, -180.0]])
def test_rotate(pixels, angles):
    result = ops.rotate(unit(pixels), torch.tensor(angles))
    assert_equals_torchvision(
        result, lambda image, angle: tv.rotate(image, angle, InterpolationMode.BILINEAR), pixels, angles
    )


def test_solarize(pixels):
    thresholds = [0.0, 0.25, 0.5, 0.7, 0.99, 128 / 255]
    result = ops.solarize(unit(pixels), torch.tensor(thresholds))
    exact = [tv.solarize(image, t) for image, t in zip(unit(pixels), thresholds, strict=True)]
    assert torch.equal(result, torch.stack(exact))
    rounded = [tv.solarize(image, 255 * t) for image, t in zip(pixels, thresholds, strict=True)]
    torch.testing.assert_close(result, unit(torch.stack(rounded)), rtol=0, atol=1e-6)


def test_normalize(pixels):
    mean, std = (0.43, 0.42, 0.39), (0.27, 0.26, 0.28)
    result = ops.normalize_(unit(pixels), mean, std)
    exact = torch.stack([tv.normalize(image, list(mean), list(std)) for image in unit(pixels)])
    torch.testing.assert_close(result, exact, rtol=0, atol=1e-6)
