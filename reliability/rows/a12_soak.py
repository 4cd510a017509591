"""A12: a long run takes no more and more memory, files or threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import covary.step
from covary.memory import process_memory
from covary.training import train
from reliability import runs
from reliability.row import Count, Figure, Row

STEPS = 20_000
EVERY = 50  # steps between looks
WARM = 0.25  # share of the run after which growth counts
MOST = 1.0  # megabytes in 1,000 steps
LIMIT = 1800.0  # seconds

Look = tuple[int, int, int]  # bytes of memory, open files, threads


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Train long runs with images streamed by threads; look at what they hold, compare after warm-up."""
    runs.prepare(folder)
    count, slopes = Count(), []
    for trial in range(trials):
        looks = runs.answer(lambda at=folder / str(trial): watched(at, seed), folder / "log", within=LIMIT)
        memory, files, threads = np.array(looks).T
        warm = int(WARM * len(looks))
        slopes.append(float(np.polyfit(np.arange(warm, len(looks)), memory[warm:], 1)[0]) * 1000 / EVERY / 1e6)
        steady = all(held[warm:].max() <= held[:warm].max() for held in (files, threads))
        seen = f"{slopes[-1]:.2f} MB in 1,000 steps, files {files.max()}, threads {threads.max()}"
        count.add(f"{EVERY * len(looks)} steps", held=slopes[-1] < MOST and steady, seen=seen)
    return count.figure(**{"MB in 1,000 steps": round(max(slopes, default=0.0), 2)})


def watched(folder: Path, seed: int) -> list[Look]:
    """Train; return a look every so many steps."""
    looks: list[Look] = []
    real = covary.step.Step.__call__

    def step(self: covary.step.Step, batch: Any, index: int) -> Any:
        if index % EVERY == 0:
            looks.append((process_memory(), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))))
        return real(self, batch, index)

    session = replace(runs.SESSION, checkpoint_steps=500, log_steps=50, residence="streamed", readers=2)
    with patch.object(covary.step.Step, "__call__", step):
        train(replace(runs.tiny(seed=seed), epochs=STEPS // runs.PER_EPOCH), folder, session)
    return looks


@contextmanager
def views_kept() -> Iterator[None]:
    """Keep every batch of views, in a run that is long enough to see it."""
    real, kept = covary.step.make_views, []

    def make_views(*arguments: Any, **options: Any) -> Any:
        kept.append(real(*arguments, **options))
        return kept[-1]

    with patch("covary.step.make_views", make_views), patch(f"{__name__}.STEPS", 3000):
        yield


ROW = Row(
    id="A12",
    promise="A run of 20,000 steps grows by less than 1 MB in 1,000 steps and holds no more files and threads",
    trials={"ci": 0, "release": 1},
    check=check,
    mutants={"views kept": views_kept},
    mutant_trials=1,
)
