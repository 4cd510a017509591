"""The linear hypernetwork: a transformation code chooses the matrix that moves the features."""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 2**22  # numbers in the largest intermediate: 16 MB of float32, near the size of a last-level cache


class LinearHypernetwork(nn.Module):
    """Moves features by a matrix that is linear in the transformation code.

    With the code t (K numbers) and the features y (D numbers)::

        W(t) = sum_k t_k H_k        moved = W(t) y        moved_o = sum_{i,k} H_oik y_i t_k

    This is a trilinear form. It is contracted as one matrix product of the outer products y_i t_k with H,
    in slices of i, so that neither the B matrices W(t) (B x D x D) nor all outer products (B x D x K) ever
    stand in memory; backward keeps y, t and H only. Same numbers as the form that builds the matrices, see
    ``docs/adr/0002-hypernetwork-contraction.md``.

    weight: (D * D, K), the layout of ``nn.Linear(K, D * D).weight`` (row o * D + i, column k), no bias,
    started as torch starts that layer: uniform in +-1/sqrt(K). There is no identity part: the first moved
    features are a random map.

    Source: STL (arXiv 2501.08712) section 3, after SIE (arXiv 2302.10283).
    """

    def __init__(self, *, code_dim: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features * features, code_dim))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, code: Tensor, features: Tensor) -> Tensor:
        """Return the moved features (b, D) of the codes (b, K) and the features (b, D)."""
        tensors = (code, features, self.weight)
        if torch.is_autocast_enabled(features.device.type):
            tensors = (x.to(torch.get_autocast_dtype(features.device.type)) for x in tensors)
        with torch.autocast(features.device.type, enabled=False):
            return cast(Tensor, _Contract.apply(*tensors))

    def gram(self) -> Tensor:
        """Return the inner products of the matrices of the K numbers, float64 (K, K): ``sum_oi H_oik H_oil``."""
        h = self.weight.detach().double()
        return h.mT @ h


class _Contract(torch.autograd.Function):
    """moved_bo = sum_{i,k} H_oik y_bi t_bk, with H (D, D K) and slices of i; see ``LinearHypernetwork``."""

    @staticmethod
    def forward(ctx: Any, t: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(t, y, weight)
        h = weight.view(y.shape[1], -1)
        moved = torch.zeros_like(y)
        for i, columns, scratch in _slices(t, y):
            outer = torch.mul(y[:, i, None], t[:, None], out=scratch)
            moved.addmm_(outer.flatten(1), h[:, columns].T)
        return moved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        t, y, weight = ctx.saved_tensors
        h = weight.view(y.shape[1], -1)
        grad_t, grad_y, grad_h = torch.zeros_like(t), torch.empty_like(y), torch.empty_like(h)
        for i, columns, scratch in _slices(t, y):
            outer = torch.mul(y[:, i, None], t[:, None], out=scratch)
            torch.mm(grad.T, outer.flatten(1), out=grad_h[:, columns])
            p = torch.mm(grad, h[:, columns], out=scratch.flatten(1)).view_as(scratch)
            grad_y[:, i] = torch.bmm(p, t.unsqueeze(2)).squeeze(2)
            grad_t += torch.bmm(y[:, None, i], p).squeeze(1)
        return grad_t, grad_y, grad_h.view_as(weight)


def _slices(t: Tensor, y: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield slices of i, the columns i K + k of H that belong to each, and scratch memory (b, len(i), K), reused."""
    (b, k), d = t.shape, y.shape[1]
    step = min(d, max(1, CHUNK // max(1, b * k)))
    memory = t.new_empty(b * step * k)
    for start in range(0, d, step):
        stop = min(start + step, d)
        scratch = memory[: b * (stop - start) * k].view(b, stop - start, k)
        yield slice(start, stop), slice(start * k, stop * k), scratch
