"""Contrast of queries with keys: MoCo v3, where the keys of the batch take the place of a queue."""

import torch
import torch.nn.functional as F
from torch import Tensor

from covary import dist
from covary.losses.rows import check_rows, check_temperature, full_precision


def moco_v3(queries: Tensor, keys: Tensor, *, temperature: float) -> Tensor:
    """Return the contrast of each query with the key of its own row against the keys of all rows.

    With t the temperature, and q and k the rows of queries and keys, each divided by its Euclidean norm::

        L(q, k) = -2 t / n sum_i log( exp(q_i . k_i / t) / sum_j exp(q_i . k_j / t) )

    One direction; MoCo v3 adds L(q1, k2) and L(q2, k1) of its two views. Its keys have no gradient, which is
    the caller's: ``moco_v3(q, k.detach(), ...)``.

    queries, keys: float (n, d); bfloat16 and float16 are computed in float32. Returns a scalar.

    Over several processes the keys are those of all of them, and every process returns the loss of the whole
    batch; averaged gradients are those of the whole batch (``covary.dist``). Every process brings the same n and
    computes n rows of the n W x n W logits.

    Source: MoCo v3 (arXiv 2104.02057) algorithm 1.

    Raises ``InputError`` for shapes that differ or are not (n, d), and a temperature that is not positive.
    """
    check_rows("moco_v3", queries, keys)
    check_temperature("moco_v3", temperature)
    n = len(queries)
    with full_precision(queries, keys) as (q, k):
        logits = (F.normalize(q, dim=1) / temperature) @ dist.all_gather_rows(F.normalize(k, dim=1)).T
        own = dist.rank() * n + torch.arange(n, device=logits.device)
        return 2 * temperature * dist.mean_over_ranks(F.cross_entropy(logits, own))
