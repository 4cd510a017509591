"""A3: whatever a resumed run would lack is missed by the comparison of bits, for each method.

The promise is that of A1, killed at one step; the row's worth is in its mutants, each of which forgets one thing. MoCo
is version 3, which has no queue: its teacher takes the place of one.
"""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import covary.step
from covary.data import Batches
from covary.keyed import derive
from covary.methods import BASES, STL
from covary.run import Run
from covary.rundir import Checkpoint, RunDir
from covary.state import restore_state
from covary.training import train
from covary.types import Batch
from reliability import runs
from reliability.row import Count, Figure, Mutant, Row, replaced

METHODS = {name: runs.small(STL, base=base) for name, base in BASES.items()}


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Kill a run of each method in its second epoch, continue it, compare its bits with those of a run left alone."""
    runs.prepare(folder)
    draw, count = random.Random(seed), Count()
    for trial, name in zip(range(trials), itertools.cycle(METHODS), strict=False):
        run = runs.tiny(METHODS[name], seed=trial)
        whole, part = folder / "whole", folder / "part"
        reference = runs.finish(whole, run)
        step = draw.randrange(runs.PER_EPOCH + 1, runs.STEPS)
        code = runs.ended(runs.fork(lambda at=step, run=run: train_until(at, run, folder / "part")))
        seen = runs.finish(part, run)
        count.add(f"stl on {name} at step {step}", held=seen == reference, fired=code == -signal.SIGKILL, seen=seen)
        shutil.rmtree(whole)
        shutil.rmtree(part)
    return count.figure(methods=min(trials, len(METHODS)))


def train_until(step: int, run: Run, folder: Path) -> None:
    """Train, and die when a step (from 0) is about to be taken."""
    with runs.at_call(step, "covary.step.make_views", lambda: os.kill(os.getpid(), signal.SIGKILL)):
        train(run, folder, runs.SESSION)


def forgets(part: str) -> Mutant:
    """Return the mutant that does not restore the tensors whose name has a part."""

    def restore(tensors: dict[str, Tensor], method: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        fresh = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
        kept = {name: tensor for name, tensor in tensors.items() if part not in name}
        restore_state({**fresh, **kept}, method, optimizer)

    return replaced("covary.training.restore_state", restore)


@contextmanager
def without_step() -> Iterator[None]:
    """Count steps anew after a resume."""
    real = RunDir.newest_checkpoint

    def newest(self: RunDir) -> tuple[Checkpoint | None, list[str]]:
        checkpoint, damaged = real(self)
        return checkpoint and replace(checkpoint, step=0), damaged

    with patch.object(RunDir, "newest_checkpoint", newest):
        yield


@contextmanager
def order_by_process() -> Iterator[None]:
    """Shuffle with a generator that every process starts anew."""
    permutations = itertools.count()

    def permutation(n: int, *, seed: int, stream: str, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive(seed, stream, next(permutations)))
        return torch.randperm(n, generator=generator)

    with patch("covary.data.batches.keyed.permutation", permutation):
        yield


@contextmanager
def epoch_begun_anew() -> Iterator[None]:
    """Continue an epoch with its first batches."""
    real = Batches.epoch

    def epoch(self: Batches, epoch: int, *, start_step: int = 0) -> Iterator[Batch]:
        return itertools.islice(real(self, epoch), self.steps_per_epoch - start_step)

    with patch.object(Batches, "epoch", epoch):
        yield


@contextmanager
def augmented_by_process() -> Iterator[None]:
    """Augment with a generator that every process starts anew."""
    real, calls = covary.step.make_views, itertools.count()

    def make_views(batch: Batch, recipe: Any, *, seed: int) -> Any:
        return real(batch, recipe, seed=derive(seed, next(calls)))

    with patch("covary.step.make_views", make_views):
        yield


@contextmanager
def rate_by_process() -> Iterator[None]:
    """Move the learning rate with the steps of a process."""
    real, calls = covary.step.learning_rate, itertools.count()

    def learning_rate(config: Any, step: int, **options: Any) -> float:
        return real(config, next(calls), **options)

    with patch("covary.step.learning_rate", learning_rate):
        yield


@contextmanager
def dropout_by_process() -> Iterator[None]:
    """Seed the generator of dropout once in a process."""
    calls = itertools.count()

    def derived(seed: int, name: str, *names: int) -> int:
        return derive(seed, name, next(calls))

    with patch("covary.step.derive", derived):
        yield


FORGOTTEN: dict[str, Mutant] = {
    "optimiser": forgets("optim."),
    "BatchNorm statistics": forgets("running_"),
    "step": without_step,
    "order": order_by_process,
    "place in the epoch": epoch_begun_anew,
    "augmentation": augmented_by_process,
    "learning rate": rate_by_process,
    "dropout": dropout_by_process,
}
TAUGHT = ("byol", "moco")


def with_method(name: str, mutant: Mutant) -> Mutant:
    """Return a mutant that is to be caught in one method."""

    @contextmanager
    def both() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch(f"{__name__}.METHODS", {name: METHODS[name]}))
            stack.enter_context(mutant())
            yield

    return both


ROW = Row(
    id="A3",
    promise="A resumed run lacks nothing: optimiser, teacher, statistics, step, order, augmentation, rate, randomness",
    trials={"ci": len(METHODS), "release": 5 * len(METHODS)},
    check=check,
    mutants={
        f"{name} of {method}": with_method(method, mutant)
        for method in METHODS
        for name, mutant in (FORGOTTEN | ({"teacher": forgets("teacher.")} if method in TAUGHT else {})).items()
    },
    mutant_trials=1,
)
