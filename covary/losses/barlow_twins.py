"""Barlow Twins: the correlation of two embeddings of the same images should be the identity matrix."""

import torch
from torch import Tensor

from covary import dist
from covary.losses.rows import check_rows, check_weight, full_precision, off_diagonal_squares

EPSILON = 1e-5  # added to variances, BatchNorm's default


def barlow_twins(a: Tensor, b: Tensor, *, off_diagonal: float = 0.0051) -> Tensor:
    """Return the Barlow Twins loss of rows ``a[i]`` and ``b[i]`` that belong together.

    With x' a column minus its mean, divided by the root of its biased variance + 1e-5 (``BatchNorm1d`` without
    weights), C the d x d correlations of the columns of a with those of b, and w the weight ``off_diagonal``::

        C_jk = 1/n sum_i a'_ij b'_ik
        L(a, b) = sum_j (1 - C_jj)^2 + w sum_{j != k} C_jk^2

    a, b: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes means, variances and C are those of the rows of all of them, and every process returns
    the loss of the whole batch; averaged gradients are those of the whole batch (``covary.dist``). Processes
    exchange these statistics, no rows. Every process brings the same n.

    Source: Barlow Twins (arXiv 2103.03230) equations 1 and 2; 1e-5 and the weight as in the authors' code, the
    paper's weight is 0.005.

    Raises ``InputError`` for shapes that differ or are not (n, d), and a weight below 0.
    """
    check_rows("barlow_twins", a, b)
    check_weight("barlow_twins", "off_diagonal", off_diagonal)
    with full_precision(a, b) as (a, b):
        c = dist.mean_over_ranks(_standardized(a).T @ _standardized(b) / len(a))
        return (1 - c.diagonal()).square().sum() + off_diagonal * off_diagonal_squares(c)


def _standardized(x: Tensor) -> Tensor:
    """Return the columns with mean 0 and variance 1 over the rows of all processes."""
    centred = x - dist.mean_over_ranks(x.mean(dim=0))
    return centred * torch.rsqrt(dist.mean_over_ranks(centred.square().mean(dim=0)) + EPSILON)
