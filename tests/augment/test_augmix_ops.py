"""Each operation of AugMix against Pillow on the same uint8 pixels."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from covary.augment import AUGMIX_OPERATIONS, augmix_ops
from covary.augment.augmix import GEOMETRIC, matrices

SIZES = [1, 2, 3, 33, 96]
FACTORS = [0.118, 0.3, 0.64, 1.0, 1.37, 1.9]
LEVELS = [0.1, -0.7, 1.3, -2.0, 2.99, -4.4, 6.0, -8.1, 9.99]


def images_of(size):
    """Nine uint8 images: noise, dark noise, a ramp, smooth, constant, black, white, black and white, few levels."""
    generator = torch.Generator().manual_seed(size)
    images = torch.randint(0, 256, (9, 3, size, size), generator=generator, dtype=torch.uint8)
    images[1] = images[1] // 4 + 20
    images[2] = torch.linspace(0, 255, size).to(torch.uint8)
    coarse = torch.rand(1, 3, 4, 4, generator=generator)
    images[3] = (255 * torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[0]).to(torch.uint8)
    images[4], images[5], images[6] = 123, 0, 255
    images[7] = images[7] // 128 * 255
    images[8] = images[8] // 64 * 64
    return images


def every_pair(images, numbers):
    """Repeat the images so that each meets each number."""
    return images.repeat(len(numbers), 1, 1, 1), [number for number in numbers for _ in images]


def pillow(images, operation, *numbers):
    """Apply a function of a Pillow image and a number to each image."""
    rows = [
        np.array(operation(Image.fromarray(image.permute(1, 2, 0).numpy()), *row))
        for image, *row in zip(images, *numbers, strict=True)
    ]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["autocontrast", "equalize"])
def test_operations_without_a_number(name, size):
    images = images_of(size)
    assert torch.equal(getattr(augmix_ops, name)(images.float()), pillow(images, getattr(ImageOps, name)))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "numbers"), [("posterize", range(1, 9)), ("solarize", [0, 1, 100, 128, 200, 255, 256])]
)
def test_operations_with_a_number(name, numbers, size):
    images, numbers = every_pair(images_of(size), numbers)
    result = getattr(augmix_ops, name)(images.float(), torch.tensor(numbers))
    assert torch.equal(result, pillow(images, getattr(ImageOps, name), numbers))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["color", "contrast", "brightness", "sharpness"])
def test_enhancers(name, size):
    images, factors = every_pair(images_of(size), FACTORS)
    result = getattr(augmix_ops, name)(images.float(), torch.tensor(factors, dtype=torch.float64))
    enhance = getattr(ImageEnhance, name.capitalize())
    assert torch.equal(result, pillow(images, lambda image, factor: enhance(image).enhance(factor), factors))


def published(name, image, level):
    """The published rules for one Pillow image, level signed."""
    size, sign, strength = image.size[0], np.sign(level), abs(level)
    if name == "rotate":
        return image.rotate(sign * int(strength * 30 / 10), resample=Image.Resampling.BILINEAR)
    shear = sign * strength * 0.3 / 10
    shift = sign * int(strength * (size / 3) / 10)
    matrix = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }[name]
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", GEOMETRIC)
def test_geometry(name, size):
    """Pillow truncates a bilinear mean in float64: one in float32 may be truncated to the next integer, seldom."""
    images, levels = every_pair(images_of(size), LEVELS)
    operation = torch.full((len(images),), AUGMIX_OPERATIONS.index(name))
    matrix = matrices(operation, torch.tensor(levels, dtype=torch.float64), size=size)
    result = augmix_ops.affine(images.float(), matrix)
    expected = pillow(images, lambda image, level: published(name, image, level), levels)
    torch.testing.assert_close(result, expected, rtol=0, atol=1)
    assert (result == expected).float().mean() > 0.997


def test_affine_of_a_rectangle():
    images = images_of(33)[:, :, :20]
    matrix = (0.91, 0.23, -1.57, -0.13, 1.07, 2.51)
    result = augmix_ops.affine(
        images.float(), torch.tensor(matrix, dtype=torch.float64).view(1, 2, 3).expand(9, -1, -1)
    )
    expected = pillow(
        images, lambda i: i.transform(i.size, Image.Transform.AFFINE, matrix, resample=Image.Resampling.BILINEAR)
    )
    torch.testing.assert_close(result, expected, rtol=0, atol=1)
