"""How far what was written is from the encoder: features of both of the same images."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from covary.errors import InputError
from covary.evaluation.features import encode

BATCHES = (1, 2, 7)  # images; an export that holds for one size of batch alone is none
WEIGHTS, GRAPH = 1e-5, 1e-4  # largest difference of the same network, and of another program for it


def probes(*shape: int) -> list[Tensor]:
    """Return batches of standard normal numbers (n, *shape), n of ``BATCHES``, which stand for normalised images."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, *shape, generator=generator) for n in BATCHES]


@torch.no_grad()
def of_encoders(encoder: nn.Module, other: Callable[[Tensor], Tensor], *, size: int) -> float:
    """Return the largest difference of features, over ``BATCHES`` of images (n, 3, size, size)."""
    return worst([largest(encode(encoder, images), other(images)) for images in probes(3, size, size)])


def largest(a: Tensor, b: Tensor) -> float:
    """Return the largest difference of two sets of numbers, relative to the largest of ``a`` where that is above 1.

    Not a number where either holds none; infinite where their shapes differ.
    """
    if a.shape != b.shape:
        return float("inf")
    return float((a - b).abs().max() / a.abs().max().clamp(min=1))


def worst(differences: Sequence[float]) -> float:
    """Return the largest; not a number where one is none."""
    return float(torch.tensor(differences).max())


def check(difference: float, limit: float, *, format: str) -> float:
    """Return the difference.

    Raises InputError: it is above the limit, or not a number.
    """
    if not difference <= limit:
        raise InputError(
            f"As {format} the features would differ from the encoder's by {difference:.1e}, more than {limit:.0e}; "
            "nothing was written. Export in another format."
        )
    return difference
