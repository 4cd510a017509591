"""Images to views: what is drawn and what partners share, the numbers, and the batched operations they steer."""

from covary.augment.augmix import OPERATIONS as AUGMIX_OPERATIONS
from covary.augment.augmix import AugMix
from covary.augment.labels import Labels
from covary.augment.recipe import (
    COLUMNS,
    JITTER_ORDERS,
    PRESETS,
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
from covary.augment.sampling import sample
from covary.augment.views import apply, boxes, make_views

__all__ = [
    "AUGMIX_OPERATIONS",
    "COLUMNS",
    "JITTER_ORDERS",
    "PRESETS",
    "TARGETS",
    "AugMix",
    "ColorJitter",
    "Crop",
    "GaussianBlur",
    "Labels",
    "Recipe",
    "Rotation",
    "Solarize",
    "TurnedView",
    "apply",
    "boxes",
    "make_views",
    "preset",
    "sample",
    "turned_view",
]
