"""Losses: pure functions of tensors that see the rows of all processes."""

from covary.losses.barlow_twins import barlow_twins
from covary.losses.contrast import moco_v3
from covary.losses.cosine import negative_cosine, normalized_mse
from covary.losses.info_nce import info_nce
from covary.losses.parameters import TURNS, same_or_not, squared_error, turns
from covary.losses.vicreg import covariance, variance, vicreg

__all__ = [
    "TURNS",
    "barlow_twins",
    "covariance",
    "info_nce",
    "moco_v3",
    "negative_cosine",
    "normalized_mse",
    "same_or_not",
    "squared_error",
    "turns",
    "variance",
    "vicreg",
]
