"""C1: whatever is not finite, wherever it comes from, changes nothing that the run keeps, and the step can be repeated.

There is no scaling of the loss (bf16 needs none), so that AMP's scale is not among the faults.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import covary.step
from covary import dist
from covary.augment import make_views
from covary.errors import TrainingError
from covary.guard import FiniteGuard
from covary.methods import AbstractMethod
from covary.replay import replay
from covary.run import Run
from covary.rundir import RunDir
from covary.training import train
from covary.types import Batch, Views
from reliability.ranks import already_met, results
from reliability.row import Count, Figure, Row, replaced
from reliability.small import VARIANTS, quiet, small_run

FAULTS = ("input", "activation", "loss", "gradient", "file")
VALUES = (float("nan"), float("inf"), -float("inf"))
STEPS, PER_EPOCH, ROWS = 4, 2, 8
TOGETHER = ("byol", "moco", "stl")  # the methods of the trials in two processes, which wait for each other a lot
SESSION = quiet(checkpoint_steps=1, log_steps=1)
LATE = quiet(checkpoint_steps=2, log_steps=2)  # a step that is not finite is followed by others before it is found
State = dict[str, Tensor]


class Fault:
    """Puts a number that is not finite into one step of one process, again whenever the step is taken."""

    def __init__(self, kind: str, value: float, *, step: int, rank: int) -> None:
        self.kind, self.value, self.step, self.rank = kind, value, step, rank
        self.now = self.fired = False

    def hit(self, kind: str, tensor: Tensor) -> Tensor:
        """Return a tensor, spoilt where it is its turn."""
        if not (self.now and kind == self.kind):
            return tensor
        self.fired = True
        spoilt = torch.zeros_like(tensor)
        spoilt[(0,) * tensor.ndim] = self.value
        return tensor + spoilt

    def views(self, batch: Batch, *arguments: Any, **options: Any) -> Views:
        """Make the views of a batch: from it the step is known."""
        step = batch.epoch * PER_EPOCH + int(batch.positions[0]) // ROWS
        self.now = step == self.step and dist.rank() == self.rank
        views = make_views(batch, *arguments, **options)
        return Views(self.hit("input", views.images), views.params, views.partners, views.turned)

    def build(self, real: Callable[[Run], AbstractMethod], run: Run) -> AbstractMethod:
        """Build the method with the places for the fault in it."""
        method = real(run)
        layer = next(layer for layer in method.encoder.modules() if isinstance(layer, nn.Conv2d))
        layer.register_forward_hook(self.of_layer)
        layer.weight.register_hook(lambda gradient: self.hit("gradient", gradient))
        method.register_forward_hook(self.of_loss)
        return method

    def of_layer(self, layer: nn.Module, inputs: object, output: Tensor) -> Tensor:
        """Return the activation, spoilt where it is its turn."""
        return self.hit("activation", output)

    def of_loss(self, method: nn.Module, inputs: object, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the terms with the loss spoilt where it is its turn."""
        return {**terms, "loss": self.hit("loss", terms["loss"])}

    @contextmanager
    def injected(self) -> Iterator[None]:
        """Let the fault happen while the ``with`` block runs."""
        real = Run.build_method
        with (
            patch.object(Run, "build_method", lambda run: self.build(real, run)),
            patch.object(covary.step, "make_views", self.views),
        ):
            yield


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Train each method with a fault: two thirds of the trials in one process, the others in one of two."""
    draw, count = random.Random(seed), Count()
    cases = [
        {
            "method": list(VARIANTS)[trial % len(VARIANTS)],
            "kind": FAULTS[trial % len(FAULTS)],
            "value": draw.choice(VALUES),
            "step": draw.randrange(1, STEPS),
            "rank": draw.randrange(2),
        }
        for trial in range(trials)
    ]
    third = len(cases) // 3
    alone = [{**case, "rank": 0} for case in cases[third:]]
    together = [{**case, "method": TOGETHER[index % len(TOGETHER)]} for index, case in enumerate(cases[:third])]
    for world, mine in ((1, alone), (2, together)):
        found = results(partial(all_trials, mine, folder / f"of-{world}"), world, folder / f"ranks-{world}")
        for rows in zip(*found, strict=True):
            name, held, *_ = rows[0]
            agree = len({row[3] for row in rows}) == 1
            count.add(
                f"{name} of {world}", held=held and agree, fired=any(row[2] for row in rows), seen=[r[3] for r in rows]
            )
    return count.figure()


def all_trials(cases: list[dict[str, Any]], folder: Path) -> list[tuple[str, bool, bool, str]]:
    """Return for each trial its name, whether the promise held, whether the fault came here, and what was seen."""
    with patch.object(dist, "processes", already_met), patch("os.fsync"):  # no power is cut here
        right: dict[str, list[State]] = {}
        found = []
        for number, case in enumerate(cases):
            method = case["method"]
            if method not in right:
                right[method] = states(small_run(method, images=PER_EPOCH * ROWS), folder / f"right-{number}")
            found.append(trial(right[method], folder / str(number), **case))
        return found


def states(run: Run, folder: Path) -> list[State]:
    """Return the state after every number of steps of an untroubled run, in the main process."""
    seen: list[State] = [{}]

    def save(self: RunDir, step: int, tensors: State, meta: dict[str, Any]) -> list[str]:
        seen.append({name: tensor.clone() for name, tensor in tensors.items()})
        return []

    with patch.object(RunDir, "save_checkpoint", save):
        train(run, folder, SESSION)
    return seen


def trial(
    right: list[State], folder: Path, *, method: str, kind: str, value: float, step: int, rank: int
) -> tuple[str, bool, bool, str]:
    """Train with a fault; say whether all is as it was before the step, and whether the replay shows it."""
    name = f"{value} in {kind}, step {step}, rank {rank}, {method}"
    run, place, fault = (
        small_run(method, images=PER_EPOCH * ROWS),
        RunDir(folder),
        Fault(kind, value, step=step, rank=rank),
    )
    expected = right[step] if dist.is_main() else {}
    if kind == "file":
        expected = spoil_file(run, place, step, value)
        fault.fired = True
    with fault.injected():
        try:
            train(run, folder, LATE)
            return name, False, fault.fired, "the run went on"
        except TrainingError as error:
            stopped = str(error).split(" (lr")[0]
        again = replay(run, folder, LATE)
    kept, _ = place.failure.newest_checkpoint()
    newest, _ = place.newest_checkpoint()
    problems = [
        *(["another step" * (not stopped.endswith(f"step {step + 1}"))]),
        *(["no state kept" * (kept is None or kept.step != step)]),
        *(["replay is finite" * (again.finite or not any(again.found))]),
    ]
    if dist.is_main():
        problems += [f"{key} changed" for key in differing(kept.tensors if kept else {}, expected)]
        if kind != "file" and newest is not None:
            problems += [f"{key} of the checkpoint" for key in differing(newest.tensors, right[newest.step])]
    said = "; ".join(problem for problem in problems if problem)
    return name, not said, fault.fired, f"{stopped} {said}" if dist.is_main() else f"{stopped} "


def spoil_file(run: Run, place: RunDir, step: int, value: float) -> State:
    """Train to a step, then put a number that is not finite into a weight of its checkpoint; return what it holds."""

    class Enough(Exception):
        pass

    def stop(self: Any, batch: Batch, *arguments: Any, **options: Any) -> Views:
        if batch.epoch * PER_EPOCH + int(batch.positions[0]) // ROWS == step:
            raise Enough
        return make_views(batch, *arguments, **options)

    with patch.object(covary.step, "make_views", partial(stop, None)):
        try:
            train(run, place.path, SESSION)
        except Enough:
            dist.barrier()
    checkpoint, _ = place.newest_checkpoint()
    if checkpoint is None:
        raise RuntimeError(f"no checkpoint of step {step}")
    dist.barrier()
    weight = next(name for name in checkpoint.tensors if name.startswith("method.encoder") and name.endswith("weight"))
    checkpoint.tensors[weight].view(-1)[0] = value  # a checkpoint's tensors are contiguous
    if dist.is_main():
        place.save_checkpoint(step, checkpoint.tensors, checkpoint.meta)
    dist.barrier()
    return checkpoint.tensors


def differing(found: State, expected: State) -> list[str]:
    """Return the names of tensors that are not the same bits in both."""
    same = {
        name
        for name in found.keys() & expected.keys()
        if torch.equal(found[name].nan_to_num(7.0), expected[name].nan_to_num(7.0))
    }
    return sorted(found.keys() ^ expected.keys() | found.keys() - same)[:3]


def look_and_go_on(guard: FiniteGuard, optimizer: torch.optim.Optimizer, loss: Tensor, step: int) -> Tensor:
    """Note a step that is not finite without holding its update back: what a check in the loop's log does."""
    norm = check_of_guard(guard, optimizer, loss, step)
    optimizer.found_inf = torch.zeros(())  # pyright: ignore[reportAttributeAccessIssue]
    return norm


check_of_guard = FiniteGuard.check

ROW = Row(
    id="C1",
    promise="A number that is not finite changes no weight, momentum, teacher or statistic, stops all processes at the "
    "same step, and the step can be repeated",
    trials={"ci": 60, "release": 240},
    check=check,
    mutants={
        "noted, not held back": replaced("covary.guard.FiniteGuard.check", look_and_go_on),
        "statistics and teachers go on": replaced("covary.guard.FiniteGuard.restore", lambda guard: None),
    },
    mutant_trials=6,
)
