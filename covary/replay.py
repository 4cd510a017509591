"""``covary pretrain --replay``: repeat the step that was not finite, and find where it began."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from covary import dist
from covary.errors import InputError
from covary.methods import AbstractMethod
from covary.resuming import check_same_run
from covary.run import Run
from covary.rundir import RunDir
from covary.state import restore_state
from covary.step import Step, build
from covary.training import Session, open_images
from covary.types import Views

SHOWN = 8  # names of images in a line


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A step that was repeated.

    step:   its index, from 0.
    finite: whether it was finite this time.
    terms:  its loss, terms and norm of the gradient.
    found:  for each process the first number that is not finite, in words; "" where all are finite.
    images: for each process the images of the step; where rows of them are not finite, those.
    """

    step: int
    finite: bool
    terms: dict[str, float]
    found: tuple[str, ...]
    images: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the replay as lines to print."""
        state = "finite this time" if self.finite else "not finite again"
        head = f"step {self.step + 1} repeated: {state}"
        values = ", ".join(f"{name} {value:.6g}" for name, value in self.terms.items())
        where = [
            line
            for rank, (found, images) in enumerate(zip(self.found, self.images, strict=True))
            if found
            for line in (f"process {rank}: first not finite: {found}", f"process {rank}: images {images}")
        ]
        return [head, values, *where]


def replay(run: Run, out: Path, session: Session = Session()) -> Replay:
    """Repeat the step that stopped the run in ``out``, from the state that the run left; nothing is written.

    Every random number is a function of seed, epoch and position, so the step is the same; started with as many
    processes as the run had, each computes what it computed then. The method is not compiled.

    Raises InputError: the folder holds another run, or no step that was not finite.
    """
    folder = RunDir(out)
    with dist.processes(session.device) as device:
        run = run.resolved(device)
        run.check_world(dist.world_size())
        check_same_run(run, folder)
        failure, _ = folder.failure.newest_checkpoint()
        if failure is None:
            raise InputError(f"{out} holds no step that was not finite; --replay repeats one that stopped a run.")
        method, optimizer = build(run, device)
        restore_state(failure.tensors, method, optimizer)
        _, batches = open_images(run, session, device)
        step = Step(replace(run, compile="off"), method, optimizer, device=device, per_epoch=batches.steps_per_epoch)
        epoch, start = divmod(failure.step, batches.steps_per_epoch)
        batch = next(batches.epoch(epoch, start_step=start))
        method.train()
        views = step.views(batch)
        with _watched(method) as seen:
            terms = step.gradients(views, failure.step)
        first = next(_not_finite(method, failure.tensors, views, seen, terms), None)
        terms["gradient"] = step.change(terms["loss"], failure.step)
        names = batches.names(batch)
        if first and first.rows is not None and len(first.rows) == len(names):
            names = [name for name, bad in zip(names, first.rows.tolist(), strict=True) if bad]
        return Replay(
            step=failure.step,
            finite=step.first_bad is None,
            terms={name: float(value) for name, value in terms.items()},
            found=tuple(dist.gather_texts(first.words if first else "")),
            images=tuple(dist.gather_texts(_listed(names))),
        )


@dataclass(frozen=True)
class _First:
    """A tensor that is not finite, in words, and which of its rows are not, where it has rows."""

    words: str
    rows: Tensor | None = None


def _not_finite(
    method: AbstractMethod,
    state: dict[str, Tensor],
    views: Views,
    seen: Sequence[_First],
    terms: dict[str, Tensor],
) -> Iterator[_First]:
    """Yield what is not finite, in the order in which a step computes it."""
    for name, tensor in state.items():
        if not _finite(tensor):
            yield _First(f"{name} of the state before the step, {_share(tensor)}")
    if not _finite(views.images):
        yield _First(f"the views, {_share(views.images)}", rows=_bad_rows(views.images.transpose(0, 1)))
    yield from seen
    for name, value in terms.items():
        if not _finite(value):
            yield _First(f"the term {name}")
    for name, parameter in reversed(list(method.named_parameters())):
        if parameter.grad is not None and not _finite(parameter.grad):
            yield _First(f"the gradient of {name}, {_share(parameter.grad)}")
    for name, buffer in method.named_buffers():
        if not _finite(buffer):
            yield _First(f"the buffer {name} after the step, {_share(buffer)}")


@contextmanager
def _watched(method: nn.Module) -> Iterator[list[_First]]:
    """Note, in order, the layers whose output is not finite while the ``with`` block runs."""
    seen: list[_First] = []

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def look(layer: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not _finite(output):
                words = f"the output of {name or 'the method'} ({type(layer).__name__}), {_share(output)}"
                seen.append(_First(words, rows=_bad_rows(output)))

        return layer.register_forward_hook(look)

    handles = [watch(name, layer) for name, layer in method.named_modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _bad_rows(tensor: Tensor) -> Tensor | None:
    return None if tensor.ndim == 0 else ~torch.isfinite(tensor.detach()).reshape(len(tensor), -1).all(dim=1)


def _share(tensor: Tensor) -> str:
    return f"{int((~torch.isfinite(tensor)).sum()):,} of {tensor.numel():,} numbers"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
