"""Losses of predicted transformations: numbers, whether two views share something, quarter turns.

A label that is NaN makes the loss NaN, in every process.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from covary import dist
from covary.errors import InputError
from covary.losses.rows import check_rows, full_precision

TURNS = 4


def squared_error(predicted: Tensor, label: Tensor) -> Tensor:
    """Return the mean squared difference of predicted numbers and labels::

        L(p, y) = 1/(n d) sum_ij (p_ij - y_ij)^2

    predicted, label: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes the mean is over the rows of all of them, and every process returns it. Every process
    brings the same n.

    Source: AugSelf (arXiv 2111.09613), for crop and colour.

    Raises ``InputError`` for shapes that differ or are not (n, d).
    """
    check_rows("squared_error", predicted, label)
    with full_precision(predicted, label) as (predicted, label):
        return dist.mean_over_ranks(F.mse_loss(predicted, label))


def same_or_not(logits: Tensor, label: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits and yes/no labels::

        L(x, y) = -1/(n d) sum_ij y_ij log s(x_ij) + (1 - y_ij) log(1 - s(x_ij)),  s(x) = 1 / (1 + exp(-x))

    logits, label: float (n, d), labels 0 or 1; bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes the mean is over the rows of all of them, and every process returns it. Every process
    brings the same n.

    Source: AugSelf (arXiv 2111.09613), for flip.

    Raises ``InputError`` for shapes that differ or are not (n, d).
    """
    check_rows("same_or_not", logits, label)
    with full_precision(logits, label) as (logits, label):
        return dist.mean_over_ranks(F.binary_cross_entropy_with_logits(logits, label))


def turns(logits: Tensor, turn: Tensor) -> Tensor:
    """Return the cross-entropy of logits for the four quarter turns and the turns that were made::

        L(x, k) = -1/n sum_i log( exp(x_i,k_i) / sum_j exp(x_ij) )

    logits: float (n, 4); bfloat16 and float16 are computed in float32. turn: (n,), 0 to 3, integer or float; any
    other number, NaN among them, makes the loss NaN. Returns a scalar.

    Over several processes the mean is over the rows of all of them, and every process returns it. Every process
    brings the same n.

    Source: E-SSL (arXiv 2111.00899), after RotNet (arXiv 1803.07728).

    Raises ``InputError`` for other shapes.
    """
    if logits.shape != (len(turn), TURNS) or turn.ndim != 1:
        raise InputError(
            f"turns needs logits of the shape (n, {TURNS}) and turns of the shape (n,), "
            f"got {tuple(logits.shape)} and {tuple(turn.shape)}."
        )
    with full_precision(logits) as (logits,):
        made = turn[:, None] == torch.arange(TURNS, device=turn.device)
        wanted = made.to(logits.dtype).masked_fill(~made.any(dim=1, keepdim=True), math.nan)
        return dist.mean_over_ranks(F.cross_entropy(logits, wanted))
