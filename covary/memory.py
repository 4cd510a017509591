"""What a run needs at its peak: a step is traced with fake tensors, which have shapes and no memory."""

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from covary.methods import AbstractMethod
from covary.optim import build_optimizer
from covary.run import Run
from covary.state import state_tensors
from covary.step import Step
from covary.types import Views

FUSED = (torch.ops.aten._fused_sgd_.default, torch.ops.aten._fused_adamw_.default)  # in place, and without a fake form
SLACK = 0.4  # of what comes and goes in a step, glibc's malloc keeps as much between its blocks: 0.2 to 0.5 as measured


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes of tensors in a step of one process.

    weights:    what stands from step to step: weights, statistics of BatchNorm, teachers, momentum.
    views:      views of a batch.
    work:       what is there besides at the peak: activations, gradients, temporary results.
    checkpoint: copies that are there while a checkpoint is written.
    """

    weights: int
    views: int
    work: int
    checkpoint: int


def step_memory(run: Run, method: AbstractMethod, device: torch.device) -> StepMemory:
    """Return what the second step of a resolved run needs; in the first the optimiser has no state yet.

    method: the run's, on the device ``meta``, where a teacher can be copied, which fake tensors cannot be; it is made
    one of fake tensors. What kernels take for themselves is not seen.
    """
    method.to(memory_format=torch.channels_last)
    with FakeTensorMode(allow_non_fake_inputs=True), _Live() as live:
        method.to_empty(device=device)
        optimizer = build_optimizer(run.optim, method)
        step = Step(replace(run, compile="off"), method, optimizer, device=device, per_epoch=2)
        before = live.now
        views = _empty_views(run, device)
        of_views = live.now - before
        step.update(views, 0)
        standing = live.peak = live.now
        step.update(views, 1)
        state = state_tensors(method, optimizer).values()
        turned = sum(tensor.nbytes for tensor in state if not tensor.is_contiguous())
        copies = turned + 2 * sum(tensor.nbytes for tensor in state)  # as bytes, one by one and in one piece
    return StepMemory(weights=standing - of_views, views=of_views, work=live.peak - standing, checkpoint=copies)


def peak_memory(step: StepMemory, device: torch.device, *, images: int, batch: int, process: int) -> Mapping[str, int]:
    """Return the bytes of each part of a run's memory at its peak, which is their sum.

    On a GPU what torch allocates there; on a CPU the resident memory of the process, at the larger of two peaks, in a
    step and while a checkpoint is written.

    images:  bytes of all images that lie on the device. batch: bytes of the images of a batch.
    process: bytes of the process before it trains: interpreter and libraries.
    """
    standing = {"images": images, "weights": step.weights}
    in_step = {"views": step.views + batch, "activations": step.work}
    if device.type == "cuda":
        return standing | in_step
    in_step["allocator"] = round(SLACK * step.work)
    saving = {"views": step.views + batch, "checkpoint": step.checkpoint}
    return standing | max(in_step, saving, key=lambda parts: sum(parts.values())) | {"libraries": process}


def process_memory() -> int:
    """Return the bytes of this process in memory, 0 where the system is not Linux."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


class _Live(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in FUSED:
            return None
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return out

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def _empty_views(run: Run, device: torch.device) -> Views:
    """Return views of a batch, of the right shapes."""
    recipe, b = run.augment, run.batch_size
    numbers = max(column.stop for column in recipe.columns.values())
    turned = recipe.turned
    return Views(
        images=torch.empty(recipe.views, b, 3, recipe.size, recipe.size, device=device),
        params=torch.empty(recipe.views, b, numbers, device=device),
        partners=recipe.partners,
        turned=torch.empty(4, b, 3, turned.size, turned.size, device=device) if turned else None,
    )
