"""A4: stopped anywhere and continued with other readers and images from elsewhere, a run sees the same pixels.

Readers are threads that copy or decode the coming batches: covary has no worker processes.
"""

import hashlib
import itertools
import os
import random
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

import covary.step
from covary.data import Residence
from covary.methods import METHODS
from covary.run import Run
from covary.stop import Interrupted
from covary.training import Session, train
from covary.types import Batch
from reliability import runs
from reliability.row import Count, Figure, Row
from reliability.rows.a3_resume import augmented_by_process, epoch_begun_anew

STOPS = ((0,), (1,), (2,), (runs.PER_EPOCH,), (runs.STEPS,), (1, 3, 6))  # steps before each stop: begun, mid-epoch, ...
COMBINATIONS: tuple[tuple[Residence, int], ...] = (
    *itertools.product(("streamed", "encoded"), (1, 2, 4, 0)),
    ("resident", 0),
)
CASES = tuple(itertools.product(STOPS, range(len(COMBINATIONS))))
CHOSEN = {"stl on byol": runs.TAUGHT, **{name: runs.small(config) for name, config in METHODS.items()}}
IMAGES = 32


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Stop runs everywhere, continue them with other readers and from elsewhere; compare what they saw, and bits."""
    runs.prepare(folder)
    pictures(folder / "images", seed)
    draw, count, left = random.Random(seed), Count(), trials
    whole, part = folder / "whole", folder / "part"
    for name, method in CHOSEN.items():
        cases = draw.sample(CASES, min(left, len(CASES)))
        left -= len(cases)
        run = runs.tiny(method, data=str(folder / "images"))
        wanted = lived(whole, run, len(COMBINATIONS) - 1, ()) if cases else None
        for stops, first in cases:
            found = lived(part, run, first, stops)
            same = wanted is not None and found.trace == wanted.trace and found.digest == wanted.digest
            title = f"{name}, stopped after {stops}, from {COMBINATIONS[first]}"
            count.add(title, held=same, fired=found.stopped == len(stops), seen=found.digest)
    return count.figure(combinations=len(CASES))


@dataclass(frozen=True, kw_only=True)
class Life:
    """What a run saw from its first step to its last, how often it was stopped, and the digest of what it left."""

    trace: list[str]
    stopped: int
    digest: str


def lived(folder: Path, run: Run, first: int, stops: Sequence[int]) -> Life:
    """Train with a combination and, after each stop, with the next one; the folder is removed."""
    trace = folder.with_suffix(".trace")
    trace.write_text("")
    stopped = code = 0
    log = folder.with_suffix(".log")
    for part, stop in enumerate((*stops, None)):
        residence, readers = COMBINATIONS[(first + part) % len(COMBINATIONS)]
        session = replace(runs.SESSION, checkpoint_steps=0, residence=residence, readers=readers)
        code = runs.ended(runs.fork(lambda at=stop, how=session: train_traced(run, folder, how, trace, at), log=log))
        stopped += code in (-signal.SIGKILL, 128 + signal.SIGTERM)
    life = Life(
        trace=trace.read_text().splitlines(),
        stopped=stopped,
        digest=runs.digest(folder) if code == 0 else f"exit code {code}: {log.read_text()[-300:]}",
    )
    shutil.rmtree(folder)
    return life


def train_traced(run: Run, folder: Path, session: Session, trace: Path, stop: int | None) -> int:
    """Train, write a line for what each step sees, stop after a number of steps; return the exit code.

    Stopped before the first step there is nothing to save: the process is killed.
    """
    real = covary.step.make_views
    lines = open(trace, "a", buffering=1)  # noqa: SIM115 - until the process ends

    def make_views(batch: Batch, *arguments: Any, **options: Any) -> Any:
        step = batch.epoch * runs.PER_EPOCH + int(batch.positions[0]) // len(batch.positions)
        if stop == step == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if stop == step + 1:
            os.kill(os.getpid(), signal.SIGTERM)
        views = real(batch, *arguments, **options)
        parts = (batch.images, batch.sizes, batch.positions, views.images, views.params)
        hashed = hashlib.sha256(b"".join(part.contiguous().numpy().tobytes() for part in parts)).hexdigest()
        lines.write(f"{step} {hashed}\n")
        return views

    with patch("covary.step.make_views", make_views):
        try:
            train(run, folder, session)
        except Interrupted as stopped:
            return 128 + stopped.signum
    return 0


def pictures(folder: Path, seed: int) -> None:
    """Write small images of several sizes."""
    draw = np.random.default_rng(seed)
    folder.mkdir()
    for index in range(IMAGES):
        height, width = draw.integers(8, 14, size=2)
        picture = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        picture.save(folder / f"{index:02}.png")


ROW = Row(
    id="A4",
    promise="Stopped at any step and continued with other readers and residence, it sees the same pixels in order",
    trials={"ci": 2 * len(CASES), "release": len(CHOSEN) * len(CASES)},
    check=check,
    mutants={"place in the epoch": epoch_begun_anew, "augmentation": augmented_by_process},
    mutant_trials=4,
)
