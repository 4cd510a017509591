"""C5: a run that goes on with another number of processes sees the same views and has the same losses and weights."""

import hashlib
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from safetensors.torch import load_file

import covary.step
import covary.training
from covary import dist
from covary.augment import make_views
from covary.run import Run
from covary.rundir import RunDir
from covary.types import Batch, Views
from reliability.ranks import start
from reliability.row import Count, Figure, Row, replaced
from reliability.rows.c4_one_of_many import job
from reliability.small import quiet, small_run

PER_EPOCH, BATCH, EPOCHS = 4, 8, 2
STEPS = PER_EPOCH * EPOCHS
PATHS = ((1, 2, 4, 1), (4, 2, 1), (2, 4), (1, 4), (4, 1, 2), (2, 1, 4, 2))  # processes of one start after the other
NAMES = ("stl", "byol", "barlow-twins", "moco", "stl on byol", "vicreg")
SESSION = quiet(log_steps=1)
LIMIT = 1e-5  # of losses and weights, in float64: in float32 differences of rounding double with every step or two
Seen = dict[int, list[str]]  # the images and pixels of a step, whichever process they were given to


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Stop a run by SIGTERM once for each change of the number of processes; compare with one that one process made."""
    draw, count, worst = random.Random(seed), Count(), 0.0
    for trial in range(trials):
        name, worlds = NAMES[trial % len(NAMES)], PATHS[trial % len(PATHS)]
        run = small_run(name, images=PER_EPOCH * BATCH, batch_size=BATCH, epochs=EPOCHS)
        stops = sorted(draw.sample(range(1, STEPS - 1), len(worlds) - 1))
        whole, parted = folder / f"{trial}-whole", folder / f"{trial}-parted"
        right = leg(run, whole, 1, None)
        seen, fired = Seen(), right is not None
        for world, stop in zip(worlds, [*stops, None], strict=True):
            found = leg(run, parted, world, stop)
            fired = fired and found is not None
            seen |= found or {}
        off = distance(whole, parted) if fired else float("inf")
        worst = max(worst, off)
        words = f"{name}, processes {worlds}, stopped in steps {stops}"
        same = seen == right
        count.add(words, held=same and off <= LIMIT, fired=fired, seen=f"views equal: {same}, differs by {off:.1e}")
    return count.figure(**{"largest difference": f"{worst:.0e}"})


def leg(run: Run, out: Path, world: int, stop: int | None) -> Seen | None:
    """Train on until SIGTERM comes in a step, or to the end; return what was seen, None where it did not end so."""
    checkpoint, _ = RunDir(out).newest_checkpoint() if out.exists() else (None, [])
    first = checkpoint.step if checkpoint else 0
    folder = out.with_name(f"{out.name}-{first}")
    kind = {"kind": "SIGTERM", "rank": 0, "step": stop - first} if stop is not None else {}
    ended = start(partial(in_float64, partial(job, run, out, SESSION, **kind), folder), world, folder).wait(120)
    expected = 0 if stop is None else 128 + signal.SIGTERM
    told = first == 0 or f"continuing after step {first}" in ended[0].printed
    if not told or [each.code for each in ended] != [expected] * world:
        return None
    seen = Seen()
    for rank in range(world):
        for line in (folder / f"seen-{rank}.txt").read_text().splitlines():
            call, image = line.split(maxsplit=1)
            seen.setdefault(first + int(call), []).append(image)
    return {step: sorted(images) for step, images in seen.items()}


def in_float64(work: Callable[[], int], folder: Path) -> int:
    """Do ``work`` with weights and views in float64, and write which pixels each step of this process was given."""
    build, real = covary.training.build, covary.step.make_views
    calls = iter(range(STEPS))

    def build_double(*arguments: Any) -> Any:
        method, optimizer = build(*arguments)
        return method.double(), optimizer

    def views(batch: Batch, *arguments: Any, **options: Any) -> Views:
        made, call = real(batch, *arguments, **options), next(calls)
        for index, position in enumerate(batch.positions.tolist()):
            pixels = hashlib.sha256(made.images[:, index].contiguous().numpy().tobytes()).hexdigest()
            lines.write(f"{call} {batch.epoch} {position} {pixels}\n")
        return replace(made, images=made.images.double())

    with (
        open(folder / f"seen-{os.environ['RANK']}.txt", "w") as lines,
        patch("covary.training.build", build_double),
        patch("covary.step.make_views", views),
    ):
        return work()


def distance(whole: Path, parted: Path) -> float:
    """Return the largest difference of a logged loss or a weight, relative to the number where that is above 1."""
    losses = [
        {line["step"]: line["loss"] for line in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())}
        for out in (whole, parted)
    ]
    weights = [load_file(out / "method.safetensors") for out in (whole, parted)]
    if losses[0].keys() != losses[1].keys() or weights[0].keys() != weights[1].keys():
        return float("inf")
    pairs = [(loss, losses[1][step]) for step, loss in losses[0].items()]
    off = [abs(a - b) / max(1.0, abs(a)) for a, b in pairs]
    for name, right in weights[0].items():
        off.append(float((right - weights[1][name]).abs().max() / right.abs().max().clamp(min=1)))
    return max(off)


@contextmanager
def seeded_by_rank() -> Iterator[None]:
    """Seed augmentation with the number of the process added, as is usual."""

    def views(*arguments: Any, seed: int, **options: Any) -> Views:
        return make_views(*arguments, seed=seed + dist.rank(), **options)

    with patch("covary.step.make_views", views):
        yield


ROW = Row(
    id="C5",
    promise="Stopped and continued on 1, 2 and 4 processes in any order, it sees the same views and ends with the same "
    "losses and weights, to 1e-5",
    trials={"ci": 6, "release": 24},
    check=check,
    mutants={
        "seeded by the process": seeded_by_rank,
        "own BatchNorm": replaced("covary.step.convert_batchnorm", lambda module, device: module),
    },
    mutant_trials=3,
)
