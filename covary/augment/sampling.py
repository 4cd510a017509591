"""The numbers of a batch's transformations: the only place of the augmentation with randomness."""

import math

import torch
from torch import Tensor

from covary import keyed
from covary.augment.augmix import draw
from covary.augment.recipe import COLUMNS, JITTER, JITTER_ORDERS, Crop, Name, Recipe
from covary.errors import InputError

ATTEMPTS = 10  # boxes drawn before the central one is taken, as torchvision's RandomResizedCrop

SLOTS: dict[Name, int] = {
    "crop": 2 * ATTEMPTS + 2,  # areas, ratios, place
    "flip": 1,
    "quarter_turn": 2,  # whether, how many
    "rotation": 2,  # whether, angle
    "jitter": 2 + len(JITTER),  # whether, factors, order
    "grayscale": 1,
    "blur": 2,  # whether, sigma
    "solarize": 1,
}
TOTAL_SLOTS = sum(SLOTS.values())


def sample(recipe: Recipe, *, seed: int, epoch: int, positions: Tensor, sizes: Tensor) -> Tensor:
    """Draw how each image of a batch becomes its views.

    positions: int64 (b,) on the CPU, places in the epoch's order; where the recipe aligns anything, rows 2i and 2i+1
               hold positions 2j and 2j+1 (partners).
    sizes:     int64 (b, 2), height and width of each image.
    Returns float32 (v, b, P), columns as in ``recipe.columns``.

    Every operation reads fixed slots of the word sequence keyed by (seed, epoch, position, view), so changing one
    operation's range leaves all other numbers as they are. Aligned operations read a sequence of their own, keyed by
    ``position // 2``. The distributions are those of torchvision's RandomResizedCrop, RandomHorizontalFlip,
    RandomApply([ColorJitter]), RandomGrayscale, RandomApply([GaussianBlur]) and RandomSolarize.

    Raises InputError where the recipe aligns an operation and the rows are not partners.
    """
    if recipe.aligned:
        _check_partners(positions)
    canvas = _pair_canvas(sizes) if "crop" in recipe.aligned else sizes
    views = [_sample_view(recipe, seed, epoch, positions, view, canvas) for view in range(recipe.views)]
    return torch.stack(views)


def _sample_view(recipe: Recipe, seed: int, epoch: int, positions: Tensor, view: int, canvas: Tensor) -> Tensor:
    """Draw one view's numbers, float32 (b, P)."""

    def words(stream: str, position: Tensor) -> dict[Name, Tensor]:
        table = keyed.uniform(seed=seed, stream=stream, epoch=epoch, position=position, view=view, slots=TOTAL_SLOTS)
        return dict(zip(SLOTS, table.split(list(SLOTS.values()), dim=1), strict=True))

    draws = words("augment", positions)
    if recipe.aligned:
        shared = words("augment.aligned", positions // 2)
        draws |= {name: shared[name] for name in recipe.aligned if name in SLOTS}

    turned, turns = draws["quarter_turn"].unbind(1)
    rotated, angle = draws["rotation"].unbind(1)
    jittered, *factors, shift, order = draws["jitter"].unbind(1)
    blurred, sigma = draws["blur"].unbind(1)
    jitter, rotation, blur = recipe.jitter, recipe.rotation, recipe.blur
    jittered = jittered < jitter.p
    brightness, contrast, saturation = (
        torch.where(jittered, _between(u, max(0.0, 1 - reach), 1 + reach), 1)
        for u, reach in zip(factors, (jitter.brightness, jitter.contrast, jitter.saturation), strict=True)
    )
    columns = {
        "crop": _boxes(draws["crop"].double(), recipe.crop, canvas),
        "flip": draws["flip"] < recipe.flip,
        "turn": torch.where(turned < recipe.quarter_turns, 1 + (3 * turns).floor(), 0),
        "angle": torch.where(rotated < rotation.p, _between(angle, -rotation.degrees, rotation.degrees), 0),
        "brightness": brightness,
        "contrast": contrast,
        "saturation": saturation,
        "hue": torch.where(jittered, _between(shift, -jitter.hue, jitter.hue), 0),
        "order": torch.where(jittered, (len(JITTER_ORDERS) * order).floor(), 0),
        "grayscale": draws["grayscale"] < recipe.grayscale,
        "blur": torch.where(blurred < blur.p, _between(sigma, *blur.sigma), 0),
        "solarize": torch.where(draws["solarize"] < recipe.solarize.p, recipe.solarize.threshold, 1.0),
    }
    numbers = torch.column_stack([columns[name] for name in COLUMNS]).to(torch.float32)
    return torch.cat([numbers, _sample_augmix(recipe, seed, epoch, positions, view)], dim=1)


def _sample_augmix(recipe: Recipe, seed: int, epoch: int, positions: Tensor, view: int) -> Tensor:
    """Draw one view's numbers of AugMix, float32 (b, P'), none where it is off."""
    augmix, aligned = recipe.augmix, "augmix" in recipe.aligned
    if augmix.p == 0:
        return torch.empty(len(positions), 0)
    stream, position = ("augmix.aligned", positions // 2) if aligned else ("augmix", positions)
    return draw(
        augmix,
        keyed.uniform(seed=seed, stream=stream, epoch=epoch, position=position, view=view, slots=augmix.slots),
    )


def _boxes(draws: Tensor, crop: Crop, canvas: Tensor) -> Tensor:
    """Draw crop boxes, float64 (b, 4): top, left, height and width as fractions of the canvas.

    The rule is torchvision's RandomResizedCrop: of ten boxes with area ``a H W``, a uniform on ``scale``, and aspect
    ratio ``exp(u)``, u uniform on ``log(ratio)``, sides rounded to pixels, the first that fits is put at a uniform
    place; where none fits, the largest box whose aspect ratio is in range is put in the centre.
    """
    areas, ratios, place = draws.split([ATTEMPTS, ATTEMPTS, 2], dim=1)
    height, width = canvas.to(torch.float64).unbind(1)
    area = _between(areas, *crop.scale) * (height * width)[:, None]
    ratio = _between(ratios, *map(math.log, crop.ratio)).exp()
    boxes = torch.stack([(area / ratio).sqrt().round(), (area * ratio).sqrt().round()], dim=2)
    limit = torch.stack([height, width], dim=1)
    fits = ((boxes > 0) & (boxes <= limit[:, None])).all(dim=2)
    first = boxes[torch.arange(len(boxes)), fits.to(torch.uint8).argmax(dim=1)]

    lowest, highest = crop.ratio
    central = torch.stack(
        [torch.minimum(height, (width / lowest).round()), torch.minimum(width, (height * highest).round())],
        dim=1,
    )
    any_fits = fits.any(dim=1, keepdim=True)
    sides = torch.where(any_fits, first, central)
    corner = torch.where(any_fits, (place * (limit - sides + 1)).floor(), ((limit - sides) / 2).floor())
    return torch.cat([corner / limit, sides / limit], dim=1)


def _pair_canvas(sizes: Tensor) -> Tensor:
    """Return sizes that partners share, int64 (b, 2): the geometric means of their heights and widths, rounded."""
    pairs = sizes.view(-1, 2, 2).to(torch.float64)
    return pairs.prod(dim=1).sqrt().round().long().repeat_interleave(2, dim=0)


def _check_partners(positions: Tensor) -> None:
    """Raise unless rows 2i and 2i+1 hold positions 2j and 2j+1."""
    if len(positions) % 2:
        raise InputError(
            f"A batch of {len(positions)} images has one without a partner; aligned operations need an even batch."
        )
    even, odd = positions.view(-1, 2).unbind(1)
    if not torch.equal(odd, even + 1) or (even % 2).any():
        raise InputError(
            "Rows 2i and 2i+1 of the batch are not at positions 2j and 2j+1; "
            "aligned operations need partners next to each other, the even position first."
        )


def _between(u: Tensor, low: float, high: float) -> Tensor:
    """Map uniform numbers from [0, 1) to [low, high)."""
    return low + (high - low) * u
