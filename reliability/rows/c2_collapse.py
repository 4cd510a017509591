"""C2: a collapse, of embeddings or of features, is told of within 50 steps, and healthy runs never raise the alarm.

Where nothing pushes images apart the projector collapses first, with a perfect loss and features that look healthy.
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import Tensor

import covary.step
from covary.augment import make_views
from covary.losses import negative_cosine
from covary.methods.base import TaughtDissimilarity, embed
from covary.methods.simsiam import Siamese
from covary.optim import OptimConfig
from covary.tracking import Tracker
from covary.training import train
from covary.types import Views
from reliability.ranks import results
from reliability.row import Count, Figure, Row, replaced
from reliability.small import quiet, small_run

STEPS, BATCH, PER_EPOCH = 50, 16, 5
LR = 0.1
AS_IT_IS = nullcontext()
NEAR = 0.2  # of the loss at which a head cannot tell the images apart


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A run: its method, what spoils it, and the loss where all images are alike to its head, None in a healthy one."""

    method: str
    spoilt: AbstractContextManager[object] = AS_IT_IS
    alike: float | None = None


def through(head: Siamese, a: Tensor, b: Tensor, targets: object) -> tuple[Tensor, Tensor]:
    """Return SimSiam's loss with the gradient let through."""
    (z_a, from_a), (z_b, from_b) = (embed(head.projector, head.predictor, side) for side in (a, b))
    return (negative_cosine(from_a, z_b) + negative_cosine(from_b, z_a)) / 2, z_a


def taught_by_itself(head: TaughtDissimilarity, a: Tensor, b: Tensor, targets: object) -> tuple[Tensor, Tensor]:
    """Return BYOL's loss with the student as its own teacher, and the gradient let through."""
    (z_a, from_a), (z_b, from_b) = (embed(head.projector, head.predictor, side) for side in (a, b))
    return head.compare(from_a, z_b) + head.compare(from_b, z_a), z_a


def one_picture(*arguments: Any, **options: Any) -> Views:
    """Make views that are all the same."""
    views = make_views(*arguments, **options)
    return replace(views, images=views.images[:, :1].expand_as(views.images).contiguous())


COLLAPSING = {
    "simsiam without stop-gradient": Kind(method="simsiam", spoilt=patch.object(Siamese, "forward", through), alike=-1),
    "byol taught by itself": Kind(
        method="byol", spoilt=patch.object(TaughtDissimilarity, "forward", taught_by_itself), alike=0
    ),
    "one picture": Kind(
        method="simclr", spoilt=patch.object(covary.step, "make_views", one_picture), alike=math.log(2 * BATCH - 1)
    ),
}
HEALTHY = {
    name: Kind(method=name)
    for name in (
        *("byol", "simsiam", "simclr", "stl", "stl on byol", "barlow-twins", "vicreg", "moco", "stl on simsiam"),
        *("e-ssl", "augself on byol", "equimod on simsiam"),
    )
}
KINDS = COLLAPSING | HEALTHY


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Train a third of the runs into collapse, the others as they should be; count what was told."""
    collapsing = trials // 3
    cases = [
        (list(kinds)[number % len(kinds)], seed + number)
        for kinds, runs in ((COLLAPSING, collapsing), (HEALTHY, trials - collapsing))
        for number in range(runs)
    ]
    count, latest, alarms = Count(), 0, 0
    (found,) = results(partial(all_runs, cases, folder / "runs"), 1, folder / "ranks")
    for (name, number), (told, loss) in zip(cases, found, strict=True):
        alike = KINDS[name].alike
        latest = max(latest, 0 if alike is None else told)
        alarms += told > 0 and alike is None
        came = alike is None or abs(loss - alike) < NEAR
        seen = f"told at {told}, loss {loss}"
        count.add(f"{name}, seed {number}", held=(told > 0) == (alike is not None), fired=came, seen=seen)
    return count.figure(**{"told at step, at the latest": latest, "false alarms": alarms})


def all_runs(cases: list[tuple[str, int]], folder: Path) -> list[tuple[int, float]]:
    """Return for each run the step at which collapse was told of, 0 for never, and the last loss."""
    with patch("os.fsync"):  # no power is cut here
        return [one_run(folder / f"{index}", KINDS[name], seed) for index, (name, seed) in enumerate(cases)]


def one_run(out: Path, kind: Kind, seed: int) -> tuple[int, float]:
    """Train 50 steps; return when collapse was told of, and the last loss."""
    logged: list[tuple[int, float]] = []
    told: list[int] = []

    def log(tracker: Tracker, step: int, epoch: int, values: dict[str, float], **options: Any) -> None:
        logged.append((step, values["loss"]))

    def warn(tracker: Tracker, line: str, *, about: str) -> None:
        told.append(logged[-1][0])

    size = {"images": BATCH * PER_EPOCH, "batch_size": BATCH, "epochs": STEPS // PER_EPOCH}
    run = small_run(kind.method, **size, seed=seed, optim=OptimConfig(lr=LR))
    with kind.spoilt, patch.object(Tracker, "log", log), patch.object(Tracker, "warn_once", warn):
        train(run, out, quiet())
    return min(told, default=0), logged[-1][1]


def raw_deviation(rows: Tensor) -> Tensor:
    """Return the deviation of rows as they are, which grows with their length."""
    return rows.detach().float().std(dim=0).mean()


def look_at_features(values: Mapping[str, float], tracker: Tracker) -> None:
    """Warn of features alone."""
    look_at_both({"spread": values["spread"]}, tracker)


def look_at_loss(values: Mapping[str, float], tracker: Tracker) -> None:
    """Warn of a loss alone."""
    if not math.isfinite(values["loss"]):
        tracker.warn_once("the loss is not finite", about="loss")


look_at_both = covary.training._warn_of_collapse

ROW = Row(
    id="C2",
    promise="Embeddings or features that collapse are told of within 50 steps, and healthy runs raise no alarm",
    trials={"ci": 15, "release": 60},
    check=check,
    mutants={
        "features alone": replaced("covary.training._warn_of_collapse", look_at_features),
        "loss alone": replaced("covary.training._warn_of_collapse", look_at_loss),
        "deviation without length": replaced("covary.methods.abstract.spread", raw_deviation),
        "alarm at what healthy runs have": replaced("covary.training.COLLAPSED", 0.7),
    },
    mutant_trials=4,
)
