"""Images to views: what is drawn and what partners share, the numbers, and the batched operations they steer."""

from covary.augment.recipe import (
    COLUMNS,
    JITTER_ORDERS,
    PRESETS,
    ColorJitter,
    Crop,
    GaussianBlur,
    Recipe,
    Rotation,
    Solarize,
    preset,
)
from covary.augment.sampling import sample
from covary.augment.views import apply, boxes, make_views

__all__ = [
    "COLUMNS",
    "JITTER_ORDERS",
    "PRESETS",
    "ColorJitter",
    "Crop",
    "GaussianBlur",
    "Recipe",
    "Rotation",
    "Solarize",
    "apply",
    "boxes",
    "make_views",
    "preset",
    "sample",
]
