"""Distances between the directions of rows that belong together: what SimSiam and BYOL minimise."""

import torch.nn.functional as F
from torch import Tensor

from covary import dist
from covary.losses.rows import check_rows, full_precision


def negative_cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return minus the mean cosine of rows ``a[i]`` and ``b[i]`` that belong together::

        D(a, b) = -1/n sum_i a_i . b_i / (|a_i| |b_i|)

    in [-1, 1]. The stop-gradient is the caller's: ``negative_cosine(p, z.detach())``.

    a, b: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar. A row of zeros has the
    cosine 0.

    Over several processes the mean is over the rows of all of them, and every process returns it. Every process
    brings the same n.

    Source: SimSiam (arXiv 2011.10566) equation 1.

    Raises ``InputError`` for shapes that differ or are not (n, d).
    """
    check_rows("negative_cosine", a, b)
    with full_precision(a, b) as (a, b):
        cosines = (F.normalize(a, dim=1) * F.normalize(b, dim=1)).sum(dim=1)
        return -dist.mean_over_ranks(cosines.mean())


def normalized_mse(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared distance between the directions of rows ``a[i]`` and ``b[i]`` that belong together::

        L(a, b) = 1/n sum_i |a_i / |a_i| - b_i / |b_i||^2 = 2 + 2 D(a, b)

    in [0, 4], with D the ``negative_cosine``; squares are summed, not averaged, over the d numbers of a row. The
    stop-gradient is the caller's.

    a, b: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar. A row of zeros has no
    direction and stays zero.

    Over several processes the mean is over the rows of all of them, and every process returns it. Every process
    brings the same n.

    Source: BYOL (arXiv 2006.07733) equation 2.

    Raises ``InputError`` for shapes that differ or are not (n, d).
    """
    check_rows("normalized_mse", a, b)
    with full_precision(a, b) as (a, b):
        distances = (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1)
        return dist.mean_over_ranks(distances.mean())
