"""The transformations that evaluations ask about: which operations, of which ranges, drawn for which images.

STL (arXiv 2501.08712) section 4.2 names crop and colour jitter, alone and combined. INFERRED, as it is silent: every
other operation is off; images start as they are, not as a view; ranges are those that the run was trained with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from covary import keyed
from covary.augment import COLUMNS, Crop, Recipe, Rotation, preset, sample
from covary.augment.recipe import JITTER, Name
from covary.evaluation.features import Extractor

Ranges = Literal["auto", "paper"]

CONDITIONS: Mapping[str, tuple[Name, ...]] = MappingProxyType(
    {"crop": ("crop",), "color": ("jitter",), "all": ("crop", "jitter")}
)
TYPES = ("crop", *JITTER)
WHOLE = Crop(scale=(1.0, 1.0), ratio=(1.0, 1.0))  # of a square image


@dataclass(frozen=True)
class Transformed:
    """Images and their views as features, and how the views were made.

    start:  float32 (n, D), features of the images as they are, or of one view of them.
    views:  float32 (v, n, D).
    before: float32 (n, P), how the start was made (``recipe.COLUMNS``). params: float32 (v, n, P), how the views were.
    Rows 2i and 2i+1 are partners: the same was done to both images.
    """

    start: Tensor
    views: Tensor
    before: Tensor
    params: Tensor


def ranges_of(trained: Recipe | None, extractor: Extractor, ranges: Ranges) -> Recipe:
    """Return the recipe whose ranges count, at the extractor's size and normalisation.

    auto: that of the run, the paper's for other sources. paper: the paper's.
    """
    geometry = {"size": extractor.size, "mean": extractor.mean, "std": extractor.std}
    return preset("paper", **geometry) if trained is None or ranges == "paper" else replace(trained, **geometry)


def only(recipe: Recipe, operations: tuple[Name, ...], *, views: int, always: bool = True) -> Recipe:
    """Return the recipe with these operations alone, shared by partners: crop and jitter, or one of them.

    always: every view is jittered; else with the recipe's probability.
    """
    p = 1.0 if always else recipe.jitter.p
    return replace(
        recipe,
        crop=recipe.crop if "crop" in operations else WHOLE,
        jitter=replace(recipe.jitter, p=p if "jitter" in operations else 0.0),
        flip=0.0,
        quarter_turns=0.0,
        rotation=Rotation(),
        grayscale=0.0,
        blur=replace(recipe.blur, p=0.0),
        solarize=replace(recipe.solarize, p=0.0),
        augmix=replace(recipe.augmix, p=0.0),
        targets=operations,
        partners=True,
        views=views,
        turned=None,
    )


def draw(recipe: Recipe, count: int, *, seed: int, stream: str) -> Tensor:
    """Return the numbers of the views of ``count`` square images, float32 (v, count, P); partners share them."""
    even = count + count % 2
    sizes = torch.full((even, 2), recipe.size)
    key = keyed.derive(seed, "evaluation", stream)
    return sample(recipe, seed=key, epoch=0, positions=torch.arange(even), sizes=sizes)[:, :count]


def draw_each(recipe: Recipe, count: int, *, seed: int, stream: str) -> Tensor:
    """Return the numbers of the views of ``count`` square images, float32 (v, count, P); no two images share them."""
    return draw(replace(recipe, partners=False), count, seed=seed, stream=stream)


def unchanged(recipe: Recipe, count: int) -> Tensor:
    """Return the numbers of images as they are, float32 (count, P); those of AugMix, where it is on, are 0."""
    still = replace(only(recipe, ("crop",), views=1), crop=WHOLE)
    numbers = draw(still, 1, seed=0, stream="unchanged")[0]
    return F.pad(numbers, (0, sum(recipe.augmix.widths.values()))).expand(count, -1)


def single(before: Tensor, drawn: Tensor, types: Tensor) -> Tensor:
    """Return numbers that change one thing of an image, float32 (n, P).

    before, drawn: float32 (n, P). types: int64 (n,), indices into ``TYPES``: what is taken from ``drawn``.
    """
    after = before.clone()
    for index, name in enumerate(TYPES):
        rows = types == index
        after[rows, COLUMNS[name]] = drawn[rows, COLUMNS[name]]
    return after


def says(recipe: Recipe) -> str:
    """Return the words of a protocol line about the operations that are on, and their ranges."""
    crop, jitter, words = recipe.crop, recipe.jitter, []
    if crop != WHOLE:
        words.append(f"crop of area {crop.scale[0]:g} to {crop.scale[1]:g}")
    if jitter.p > 0:
        reach = "/".join(f"{getattr(jitter, name):g}" for name in JITTER)
        words.append(f"jitter {reach} with p = {jitter.p:g}")
    if recipe.rotation.p > 0:
        words.append(f"rotation of up to {recipe.rotation.degrees:g} degrees")
    if recipe.augmix.p > 0:
        words.append(f"AugMix of up to {recipe.augmix.width} chains of operations")
    return " and ".join(words)
