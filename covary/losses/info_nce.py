"""InfoNCE between two aligned sets of embeddings, the one loss behind SimCLR and STL."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from covary import dist
from covary.losses.rows import check_rows, check_temperature, full_precision


def info_nce(a: Tensor, b: Tensor, *, temperature: float) -> Tensor:
    """Return the InfoNCE loss (NT-Xent) of rows ``a[i]`` and ``b[i]`` that belong together.

    With t the temperature, z the 2n rows of [a; b], each divided by its Euclidean norm, and p(i) the row that
    belongs to row i::

        L(a, b) = -1/(2n) sum_i log( exp(z_i . z_p(i) / t) / sum_{j != i} exp(z_i . z_j / t) )

    a, b: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes the rows are those of all of them, and every process returns the loss of the
    whole batch; averaged gradients are those of the whole batch (``covary.dist``). Every process brings the
    same n and computes 2n rows of the 2n W x 2n W logits.

    Source: SimCLR (arXiv 2002.05709) equation 1; STL (arXiv 2501.08712) equation 10.

    Raises ``InputError`` for shapes that differ or are not (n, d), and a temperature that is not positive.
    """
    check_rows("info_nce", a, b)
    check_temperature("info_nce", temperature)
    n = len(a)
    with full_precision(a, b) as both:
        z = F.normalize(torch.cat(both), dim=1)
        logits = (z / temperature) @ dist.all_gather_rows(z).T
        first = dist.rank() * 2 * n
        logits.diagonal(first).fill_(-math.inf)
        belongs = first + torch.arange(2 * n, device=z.device).roll(n)
        return dist.mean_over_ranks(F.cross_entropy(logits, belongs))
