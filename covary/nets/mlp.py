"""The multi-layer perceptron that every head is made of."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn


def mlp(
    widths: Sequence[int], *, norm: Callable[[int], nn.Module] = nn.BatchNorm1d, last_bias: bool = False
) -> nn.Sequential:
    """Return ``len(widths) - 1`` linear layers with a norm and ReLU between them, neither after the last.

    ``mlp([512, 512, 128])`` is Linear(512, 512), BatchNorm, ReLU, Linear(512, 128). No linear layer has a
    bias: the norm has its own, and the authors of STL use none after the last; ``last_bias`` gives it one.
    Weights start as torch's default for ``nn.Linear``.

    Input (b, widths[0]), output (b, widths[-1]).
    """
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths[:-1]):
        layers += [nn.Linear(width_in, width_out, bias=False), norm(width_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1], bias=last_bias))
