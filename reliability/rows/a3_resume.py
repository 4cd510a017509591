"""A3: whatever a resumed run would lack is missed by the comparison of bits, for each method.

The promise is that of A1, killed at one step; the row's worth is in its mutants, each of which forgets one thing. STL
runs on every base by SGD; BYOL and MoCo also run alone, by the optimisers that have other moments to forget. MoCo is
version 3, which has no queue, nor has any other method.
"""

import itertools
import os
import random
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import torch
from torch import Tensor, nn

import covary.step
from covary.checkpoint import Checkpoint
from covary.data import Batches
from covary.keyed import derive
from covary.methods import BASES, BYOL, STL, MoCo
from covary.run import Run
from covary.rundir import RunDir
from covary.state import restore_state
from covary.training import train
from covary.types import Batch
from reliability import runs
from reliability.row import Count, Figure, Mutant, Row, replaced


def by(optimizer: Literal["adamw", "lars"], run: Run) -> Run:
    """Return a run with another optimiser."""
    return replace(run, optim=replace(run.optim, name=optimizer))


RUNS: Mapping[str, Run] = {
    **{f"stl on {name}": runs.tiny(runs.small(STL, base=base)) for name, base in BASES.items()},
    "byol by adamw": by("adamw", runs.tiny(runs.small(BYOL))),
    "moco by lars": by("lars", runs.tiny(runs.small(MoCo))),
}


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Kill a run of each method in its second epoch, continue it, compare its bits with those of a run left alone."""
    runs.prepare(folder)
    draw, count = random.Random(seed), Count()
    for trial, name in zip(range(trials), itertools.cycle(RUNS), strict=False):
        run = replace(RUNS[name], seed=trial)
        whole, part = folder / "whole", folder / "part"
        reference = runs.finish(whole, run)
        step = draw.randrange(runs.PER_EPOCH + 1, runs.STEPS)
        code = runs.ended(runs.fork(lambda at=step, run=run: train_until(at, run, folder / "part")))
        seen = runs.finish(part, run)
        count.add(f"{name} at step {step}", held=seen == reference, fired=code == -signal.SIGKILL, seen=seen)
        shutil.rmtree(whole)
        shutil.rmtree(part)
    return count.figure(methods=min(trials, len(RUNS)))


def train_until(step: int, run: Run, folder: Path) -> None:
    """Train, and die when a step (from 0) is about to be taken."""
    with runs.at_call(step, "covary.step.make_views", lambda: os.kill(os.getpid(), signal.SIGKILL)):
        train(run, folder, runs.SESSION)


def forgets(part: str) -> Mutant:
    """Return the mutant that begins anew with tensors in whose name, and a dot, is a part: the optimiser's with 0."""

    def restore(tensors: dict[str, Tensor], method: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        fresh = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        fresh |= {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
        kept = {name: tensor for name, tensor in tensors.items() if part not in f"{name}."}
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
TEACHER: dict[str, Mutant] = {"teacher": forgets("teacher.")}
MORE: dict[str, dict[str, Mutant]] = {
    "stl on byol": FORGOTTEN | TEACHER,
    "stl on moco": FORGOTTEN | TEACHER,
    "byol by adamw": {
        **TEACHER,
        "first moments": forgets("exp_avg."),
        "second moments": forgets("exp_avg_sq."),
        "count of steps": forgets(".step."),
    },
    "moco by lars": TEACHER | {"momentum": forgets("momentum_buffer.")},
}


def in_run(name: str, mutant: Mutant) -> Mutant:
    """Return a mutant that is to be caught in one run."""

    @contextmanager
    def both() -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(patch(f"{__name__}.RUNS", {name: RUNS[name]}))
            stack.enter_context(mutant())
            yield

    return both


ROW = Row(
    id="A3",
    promise="A resumed run lacks nothing: optimiser, teacher, statistics, step, order, augmentation, rate, randomness",
    trials={"ci": len(RUNS), "release": 5 * len(RUNS)},
    check=check,
    mutants={
        f"{forgotten} of {name}": in_run(name, mutant)
        for name in RUNS
        for forgotten, mutant in MORE.get(name, FORGOTTEN).items()
    },
    mutant_trials=1,
)
