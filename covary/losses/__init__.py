"""Losses: pure functions of tensors that see the rows of all processes."""

from covary.losses.info_nce import info_nce

__all__ = ["info_nce"]
