"""One step of a run: from a batch to changed weights. The loop and every measurement of speed call this."""

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from covary import dist
from covary.augment import make_views
from covary.guard import FiniteGuard, all_finite
from covary.keyed import derive
from covary.methods import AbstractMethod
from covary.methods.abstract import check_terms
from covary.nets import buffers_agree, convert_batchnorm
from covary.optim import build_optimizer, learning_rate, scale_gradients_lars_
from covary.run import Run
from covary.types import Batch, Views


def build(run: Run, device: torch.device) -> tuple[AbstractMethod, torch.optim.Optimizer]:
    """Return the method of a resolved run with its initial weights, a function of the seed alone, and its optimiser."""
    torch.manual_seed(derive(run.seed, "weights"))
    method = run.build_method()
    if run.sync_batchnorm and dist.world_size() > 1:
        convert_batchnorm(method, device)
    method.to(device).to(memory_format=torch.channels_last)  # faster convolutions, on a CPU too
    return method, build_optimizer(run.optim, method)


def checkpoint_bytes(run: Run, method: AbstractMethod) -> int:
    """Return the bytes of a checkpoint: all tensors of the method, and what the optimiser keeps of each weight."""
    averages = 2 if run.optim.name == "adamw" else int(run.optim.momentum > 0)
    trained = sum(p.nbytes for p in method.parameters() if p.requires_grad)
    return sum(tensor.nbytes for tensor in method.state_dict().values()) + averages * trained


class Step:
    """Takes the steps of a run, one a call, without waiting for the device.

    Method and optimiser must have their weights: with several processes the main one's are given to the others here.

    method, optimizer: what ``build`` returned, changed in place.
    per_epoch:         steps of an epoch.
    module:            the method as it is called: compiled where ``run.compile`` is on, and shared by all processes.
    """

    module: nn.Module

    def __init__(
        self,
        run: Run,
        method: AbstractMethod,
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        per_epoch: int,
    ) -> None:
        if run.compile == "on":
            method.compile(dynamic=False)
        self._run, self._method, self._optimizer = run, method, optimizer
        self.module = dist.wrap(method, device, share_buffers=not buffers_agree(method))
        self._guard = FiniteGuard(method, device)
        self._per_epoch = per_epoch

    @property
    def first_bad(self) -> int | None:
        """The first step that was not finite (``FiniteGuard``), or None; the same in all processes.

        Waits for the device.
        """
        return self._guard.first_bad()

    @property
    def finite(self) -> bool:
        """Whether weights, momentum, buffers and teachers are finite, in all processes: an update can overflow.

        Waits for the device.
        """
        return not dist.any_rank(self._guard.spoilt() or not all_finite(self._optimizer))

    def restore(self) -> None:
        """Put method and optimiser into the state before the first step that was not finite."""
        self._guard.restore()

    def lr(self, index: int) -> float:
        """Return the learning rate of the step ``index`` (from 0)."""
        return learning_rate(self._run.optim, index, steps_per_epoch=self._per_epoch, epochs=self._run.epochs)

    def __call__(self, batch: Batch, index: int) -> dict[str, Tensor]:
        """Take the step ``index`` on a batch of images; return its terms and the norm of its gradient, detached."""
        return self.update(self.views(batch), index)

    def views(self, batch: Batch) -> Views:
        """Make the views of a batch."""
        return make_views(batch, self._run.augment, seed=self._run.seed)

    def update(self, views: Views, index: int) -> dict[str, Tensor]:
        """Take the step ``index`` on views; return its terms and the norm of its gradient, detached."""
        terms = self.gradients(views, index)
        terms["gradient"] = self.change(terms["loss"], index)
        return terms

    def gradients(self, views: Views, index: int) -> dict[str, Tensor]:
        """Add the gradients of the step ``index`` on views; return its terms, detached."""
        torch.manual_seed(derive(self._run.seed, "dropout", index, dist.rank()))
        terms = backward(self._run, self.module, views)
        dist.check_averaged(self.module)
        return terms

    def change(self, loss: Tensor, index: int) -> Tensor:
        """Change the weights by the gradients that the loss of the step ``index`` left; return their norm."""
        run, optimizer, lr = self._run, self._optimizer, self.lr(index)
        for group in optimizer.param_groups:
            group["lr"] = run.optim.lr if group["constant"] else lr
        norm = self._guard.check(optimizer, loss, index)
        if run.optim.name == "lars":
            scale_gradients_lars_(run.optim, self._method.parameters())
        optimizer.step()
        optimizer.zero_grad()
        self._method.after_step((index + 1) / (run.epochs * self._per_epoch))
        self._guard.keep()
        return norm


def backward(run: Run, module: nn.Module, views: Views) -> dict[str, Tensor]:
    """Add the gradients of the mean loss over the parts of a batch; return the mean of each term.

    module: the run's method, as it is or wrapped.
    """
    sums: dict[str, Tensor] = {}
    for index, part in enumerate(_parts(views, run.accumulate)):
        with (
            dist.without_sync(module) if index < run.accumulate - 1 else nullcontext(),
            torch.autocast(part.images.device.type, torch.bfloat16, enabled=run.precision == "bf16"),
        ):
            terms = module(part)
            check_terms(terms, method=run.method.name)
            (terms["loss"] / run.accumulate).backward()
        for name, value in terms.items():
            sums[name] = sums.get(name, 0) + value.detach() / run.accumulate
    return sums


def _parts(views: Views, count: int) -> Iterator[Views]:
    rows = views.images.shape[1] // count
    for start in range(0, rows * count, rows):
        yield views.rows(slice(start, start + rows))
