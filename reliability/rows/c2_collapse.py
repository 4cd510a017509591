"""C2: features that collapse are told of within 50 steps, and healthy runs never raise the alarm.

Told is what reaches the features, the part that is kept. A head can collapse before its encoder does, with a perfect
loss and features that stay as they were: that is seen in the loss, not here.
"""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

import covary.step
from covary.augment import make_views
from covary.methods import BYOL
from covary.methods.base import TaughtDissimilarity
from covary.optim import OptimConfig
from covary.tracking import Tracker
from covary.training import train
from covary.types import Views
from reliability.ranks import results
from reliability.row import Count, Figure, Row, replaced
from reliability.small import VARIANTS, quiet, small, small_run

STEPS = 50
LR = 0.1
HEALTHY = ("simclr", "byol", "simsiam", "barlow-twins", "vicreg", "moco", "stl", "stl on byol", "e-ssl", "augself")
COLLAPSING = ("student taught by itself", "one picture")
SHORT = small(BYOL, head_layers=1, embedding=32, predictor_hidden=16)  # whose gradient reaches the encoder


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Train a third of the runs into collapse, the others as they should be; count what was told."""
    collapsing = trials // 3
    cases = [
        *((COLLAPSING[number % 2], seed + number) for number in range(collapsing)),
        *((HEALTHY[number % len(HEALTHY)], seed + number) for number in range(trials - collapsing)),
    ]
    count, latest, alarms = Count(), 0, 0
    (found,) = results(partial(all_runs, cases, folder / "runs"), 1, folder / "ranks")
    for (kind, number), (told, loss) in zip(cases, found, strict=True):
        collapses = kind in COLLAPSING
        latest = max(latest, told if collapses else 0)
        alarms += told > 0 and not collapses
        came = loss < 0.3 if kind == COLLAPSING[0] else True  # of 4: that of all images alike is 0
        count.add(f"{kind}, seed {number}", held=(told > 0) == collapses, fired=came, seen=f"told at {told}, {loss}")
    return count.figure(**{"told at step, at the latest": latest, "false alarms": alarms})


def all_runs(cases: list[tuple[str, int]], folder: Path) -> list[tuple[int, float]]:
    """Return for each run the step at which collapse was told of, 0 for never, and the last loss."""
    return [one_run(folder / f"{index}", *case) for index, case in enumerate(cases)]


def one_run(out: Path, kind: str, seed: int) -> tuple[int, float]:
    """Train 50 steps; return when collapse was told of, and the last loss."""
    logged: list[tuple[int, float]] = []
    told: list[int] = []

    def log(tracker: Tracker, step: int, epoch: int, values: dict[str, float], **options: Any) -> None:
        logged.append((step, values["loss"]))

    def warn(tracker: Tracker, line: str, *, about: str) -> None:
        told.append(logged[-1][0])

    variant = kind if kind in VARIANTS else "simclr"
    run = small_run(variant, images=80, batch_size=16, epochs=STEPS // 5, seed=seed, optim=OptimConfig(lr=LR))
    spoilt = nullcontext()
    if kind == "student taught by itself":
        run = replace(run, method=SHORT, optim=replace(run.optim, lr=100 * LR))
        spoilt = patch.object(TaughtDissimilarity, "forward", taught_by_itself)
    elif kind == "one picture":
        spoilt = patch.object(covary.step, "make_views", one_picture)
    with spoilt, patch.object(Tracker, "log", log), patch.object(Tracker, "warn_once", warn):
        train(run, out, quiet())
    return min(told, default=0), logged[-1][1]


def taught_by_itself(head: TaughtDissimilarity, a: Tensor, b: Tensor, targets: tuple[Tensor, Tensor]) -> Tensor:
    """Return the loss with the student as its own teacher, and the gradient let through."""
    to_a, to_b = (torch.cat([head.projector(part) for part in side]) for side in (a, b))
    return head.compare(head.predictor(to_a), to_b) + head.compare(head.predictor(to_b), to_a)


def one_picture(*arguments: Any, **options: Any) -> Views:
    """Make views that are all the same."""
    views = make_views(*arguments, **options)
    return replace(views, images=views.images[:, :1].expand_as(views.images).contiguous())


def raw_deviation(features: Tensor) -> Tensor:
    """Return the deviation of features as they are, which grows with their length."""
    return features.detach().float().std(dim=0).mean()


ROW = Row(
    id="C2",
    promise="Features that collapse are told of within 50 steps, and healthy runs raise no alarm",
    trials={"ci": 15, "release": 60},
    check=check,
    mutants={
        "deviation without length": replaced("covary.methods.abstract.spread", raw_deviation),
        "alarm at what healthy runs have": replaced("covary.training.COLLAPSED", 0.7),
    },
    mutant_trials=6,
)
