"""Features moved by a label: what SEN, EquiMod and SIE have in common."""

import torch
from torch import Tensor, nn

from covary.augment import Labels


def moved_by_label(
    move: nn.Module, labels: Labels, params: Tensor, y: Tensor, *, both_ways: bool
) -> tuple[Tensor, Tensor]:
    """Return features and what should have arrived at them, two aligned sets of rows (parts, b, D).

    With the relative label l(u, v) from view u to view v: ``y_2`` and ``move(l(1, 2), y_1)``; where ``both_ways``, as
    a second part, ``y_1`` and ``move(l(2, 1), y_2)``.

    params: (2, b, p), how the views were made. y: (2, b, D), their features.
    """
    ways = [(0, 1), (1, 0)] if both_ways else [(0, 1)]
    moved = [move(labels.relative(params[u], params[v]).to(y.dtype), y[u]) for u, v in ways]
    return torch.stack([y[v] for _, v in ways]), torch.stack(moved)
