"""VICReg: embeddings of the same images close together, every dimension spread out, no two dimensions alike."""

import torch
from torch import Tensor

from covary import dist
from covary.errors import InputError
from covary.losses.rows import check_rows, check_weight, full_precision, off_diagonal_squares

EPSILON = 1e-4  # added to variances under the root


def vicreg(
    a: Tensor, b: Tensor, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> Tensor:
    """Return the VICReg loss of rows ``a[i]`` and ``b[i]`` that belong together.

    With V the ``variance`` and C the ``covariance`` of this module, and their weights lambda, mu and nu::

        L(a, b) = lambda 1/(n d) sum_ij (a_ij - b_ij)^2 + mu (V(a) + V(b)) / 2 + nu (C(a) + C(b))

    a, b: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes means and covariances are those of the rows of all of them, and every process returns
    the loss of the whole batch; averaged gradients are those of the whole batch (``covary.dist``). Processes
    exchange these statistics, no rows. Every process brings the same n.

    Source: VICReg (arXiv 2105.04906) equations 1 to 6 and the authors' code. Where they differ this is the code:
    equation 5 sums the squared differences over the d dimensions, the code averages them; equation 6 adds
    V(a) + V(b), the code halves each. The published weights 25, 25 and 1 are those of the code.

    Raises ``InputError`` for shapes that differ or are not (n, d), for fewer than 2 rows in all processes
    together, and a weight below 0.
    """
    check_rows("vicreg", a, b)
    _check_enough("vicreg", a)
    for name, weight in (("invariance", invariance), ("variance", variance), ("covariance", covariance)):
        check_weight("vicreg", name, weight)
    with full_precision(a, b) as (a, b):
        loss = invariance * dist.mean_over_ranks((a - b).square().mean())
        for z in (a, b):
            matrix = _covariances(z)
            loss = loss + variance * _shortfall(matrix.diagonal()) / 2
            loss = loss + covariance * off_diagonal_squares(matrix) / len(matrix)
        return loss


def variance(z: Tensor) -> Tensor:
    """Return how far the dimensions' standard deviations fall short of 1, on average.

    With Var the unbiased variance over the n rows::

        V(z) = 1/d sum_j max(0, 1 - sqrt(Var(z_j) + 1e-4))

    z: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes the variance is that of the rows of all of them; see ``vicreg``.

    Source: VICReg (arXiv 2105.04906) equations 1 and 2 with gamma = 1.

    Raises ``InputError`` for a shape that is not (n, d), and fewer than 2 rows in all processes together.
    """
    check_rows("variance", z)
    _check_enough("variance", z)
    with full_precision(z) as (z,):
        return _shortfall(_unbiased(z, _centred(z).square().mean(dim=0)))


def covariance(z: Tensor) -> Tensor:
    """Return the squared covariances between different dimensions, summed and divided by the dimension.

    With Cov the unbiased covariance over the n rows::

        C(z) = 1/d sum_{j != k} Cov(z_j, z_k)^2

    z: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes the covariance is that of the rows of all of them; see ``vicreg``.

    Source: VICReg (arXiv 2105.04906) equations 3 and 4.

    Raises ``InputError`` for a shape that is not (n, d), and fewer than 2 rows in all processes together.
    """
    check_rows("covariance", z)
    _check_enough("covariance", z)
    with full_precision(z) as (z,):
        return off_diagonal_squares(_covariances(z)) / z.shape[1]


def _shortfall(variances: Tensor) -> Tensor:
    return torch.relu(1 - torch.sqrt(variances + EPSILON)).mean()


def _covariances(z: Tensor) -> Tensor:
    """Return the unbiased covariances (d, d) of the columns over the rows of all processes."""
    centred = _centred(z)
    return _unbiased(z, centred.T @ centred / len(z))


def _centred(z: Tensor) -> Tensor:
    return z - dist.mean_over_ranks(z.mean(dim=0))


def _unbiased(z: Tensor, moment: Tensor) -> Tensor:
    """Return the mean of a second moment over all processes, times N / (N - 1) for their N rows."""
    rows = len(z) * dist.world_size()
    return dist.mean_over_ranks(moment) * (rows / (rows - 1))


def _check_enough(loss: str, z: Tensor) -> None:
    rows = len(z) * dist.world_size()
    if rows < 2:
        raise InputError(f"{loss} needs 2 rows or more in all processes together, got {rows}.")
