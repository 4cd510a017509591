"""The guard: a step that is not finite changes nothing that a run keeps."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from covary import dist


class FiniteGuard:
    """Keeps the first step that is not finite, and all after it, out of a run, without waiting for the device.

    A step is not finite when its loss, the norm of its gradient or a statistic of BatchNorm is, in any process. The
    fused optimisers skip a step whose ``found_inf`` is 1, momentum included. What a step changes beside trained
    weights, which is buffers (statistics, queues) and weights that are not trained (teachers), is copied after every
    step that is finite, and put back by ``restore``; a method changes it in place.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        self._statistics = [b for layer in norms for b in layer.buffers() if b.is_floating_point()]
        carried = [*module.buffers(), *(p.detach() for p in module.parameters() if not p.requires_grad)]
        self._carried = {t.dtype: [each for each in carried if each.dtype == t.dtype] for t in carried}
        self._kept = self._flat()
        self._spoilt = self._not_finite()  # a mask may be infinite from the start

    def check(self, optimizer: torch.optim.Optimizer, loss: Tensor, step: int) -> Tensor:
        """Look at a step before its update; return the gradient's norm."""
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        bad = ~(torch.isfinite(loss.detach()) & torch.isfinite(norm))
        if self._statistics:
            bad |= ~torch.isfinite(torch.nn.utils.get_total_norm(self._statistics, math.inf, foreach=True))
        bad = dist.all_reduce_sum(bad.float()) > 0
        self._first_bad = torch.where(bad & (self._first_bad < 0), step, self._first_bad)
        optimizer.found_inf = (self._first_bad >= 0).float()  # pyright: ignore[reportAttributeAccessIssue]
        return norm

    def keep(self) -> None:
        """Copy what the step that ends here has changed beside trained weights, if it was finite."""
        bad = self._first_bad >= 0
        self._kept = {dtype: torch.where(bad, self._kept[dtype], now) for dtype, now in self._flat().items()}

    def restore(self) -> None:
        """Put back what was kept: the state before the first step that was not finite."""
        for dtype, tensors in self._carried.items():
            parts = self._kept[dtype].split([each.numel() for each in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def first_bad(self) -> int | None:
        """Return the first step that was not finite, or None; waits for the device."""
        step = int(self._first_bad)
        return None if step < 0 else step

    def spoilt(self) -> bool:
        """Return whether more of what is copied is not finite than at the start; waits for the device."""
        return bool(self._not_finite() > self._spoilt)

    def _not_finite(self) -> Tensor:
        """Return how many numbers of buffers and weights that are not trained are not finite."""
        counts = [(~torch.isfinite(now)).sum() for now in self._flat().values()]
        return torch.stack(counts).sum() if counts else torch.zeros(())

    def _flat(self) -> dict[torch.dtype, Tensor]:
        return {dtype: torch.cat([each.flatten() for each in tensors]) for dtype, tensors in self._carried.items()}


def all_finite(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether trained weights and what the optimiser keeps of them are finite; waits for the device."""
    weights = [p.detach() for group in optimizer.param_groups for p in group["params"]]
    kept = [value for entries in optimizer.state.values() for value in entries.values() if isinstance(value, Tensor)]
    return bool(torch.isfinite(torch.nn.utils.get_total_norm([*weights, *kept], math.inf)))
