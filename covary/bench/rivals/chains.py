"""A recipe as others write it: torchvision's per-image pipeline, kornia's batched chain, lightly's transformation."""

import importlib
import importlib.util
from typing import Any

import torch
from torch import nn
from torchvision.transforms import v2

from covary.augment import Recipe


def missing(package: str) -> str | None:
    """Return the line that says that a package is not installed; None where it is."""
    if importlib.util.find_spec(package):
        return None
    return f"{package} is not installed, and so not measured; pip install {package}."


def torchvision_chain(recipe: Recipe) -> nn.Module:
    """Return the recipe as torchvision's per-image pipeline, for uint8 tensors and PIL images."""
    jitter, blur = recipe.jitter, recipe.blur
    strength = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    return v2.Compose(
        [
            v2.RandomResizedCrop(recipe.size, scale=recipe.crop.scale, ratio=recipe.crop.ratio, antialias=True),
            v2.RandomApply([v2.ColorJitter(*strength)], p=jitter.p),
            v2.RandomGrayscale(recipe.grayscale),
            v2.RandomHorizontalFlip(recipe.flip),
            v2.RandomApply([v2.GaussianBlur(blur.kernel, blur.sigma)], p=blur.p),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(recipe.mean), list(recipe.std)),
        ]
    )


def kornia_chain(recipe: Recipe) -> nn.Module:
    """Return the recipe as kornia's batched chain, for float images in [0, 1]; numbers are drawn per image.

    An ``nn.Sequential``: kornia's own container of augmentations is slower.
    """
    k: Any = importlib.import_module("kornia.augmentation")
    jitter, size = recipe.jitter, (recipe.size, recipe.size)
    strength = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    return nn.Sequential(
        k.RandomResizedCrop(size, scale=recipe.crop.scale, ratio=recipe.crop.ratio),
        k.ColorJitter(*strength, p=jitter.p),
        k.RandomGrayscale(p=recipe.grayscale),
        k.RandomHorizontalFlip(p=recipe.flip),
        k.RandomGaussianBlur((recipe.blur.kernel, recipe.blur.kernel), recipe.blur.sigma, p=recipe.blur.p),
        k.Normalize(torch.tensor(recipe.mean), torch.tensor(recipe.std)),
    )


def lightly_transform(recipe: Recipe) -> Any:
    """Return the recipe as lightly's SimCLRTransform, which makes two views of a PIL image."""
    jitter = recipe.jitter
    return importlib.import_module("lightly.transforms").SimCLRTransform(
        input_size=recipe.size,
        cj_prob=jitter.p,
        cj_strength=1.0,
        cj_bright=jitter.brightness,
        cj_contrast=jitter.contrast,
        cj_sat=jitter.saturation,
        cj_hue=jitter.hue,
        min_scale=recipe.crop.scale[0],
        random_gray_scale=recipe.grayscale,
        gaussian_blur=recipe.blur.p,
        sigmas=recipe.blur.sigma,
        hf_prob=recipe.flip,
        normalize={"mean": list(recipe.mean), "std": list(recipe.std)},
    )
