"""What all losses share: the checks of what they are given, and the precision they compute in."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from covary.errors import InputError


def check_rows(loss: str, *sets: Tensor) -> None:
    """Raise ``InputError`` unless all sets (one or two) have the same shape (n, d)."""
    if any(x.ndim != 2 or x.shape != sets[0].shape for x in sets):
        count = "a set" if len(sets) == 1 else "two sets"
        shapes = " and ".join(str(tuple(x.shape)) for x in sets)
        raise InputError(f"{loss} needs {count} of the shape (n, d), got {shapes}.")


def check_temperature(loss: str, temperature: float) -> None:
    """Raise ``InputError`` unless the temperature is positive and finite."""
    if not temperature > 0 or math.isinf(temperature):
        raise InputError(f"{loss} needs a temperature above 0, got {temperature}.")


def check_weight(loss: str, name: str, weight: float) -> None:
    """Raise ``InputError`` unless the weight of a term is 0 or more and finite."""
    if not weight >= 0 or math.isinf(weight):
        raise InputError(f"{loss} needs a weight '{name}' of 0 or more, got {weight}.")


@contextlib.contextmanager
def full_precision(*sets: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Leave autocast for the length of a ``with`` block, whose value is the sets in float32 at least."""
    with torch.autocast(sets[0].device.type, enabled=False):
        yield tuple(x.to(torch.promote_types(x.dtype, torch.float32)) for x in sets)


def off_diagonal_squares(matrix: Tensor) -> Tensor:
    """Return the sum of the squares of a square matrix's numbers, those on its diagonal left out."""
    return (matrix - matrix.diagonal().diag()).square().sum()
