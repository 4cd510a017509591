"""A5: a signal stops a run after a checkpoint, with the exit code that schedulers expect, and the next start goes on.

Where the images are still being built there is nothing to save, and SIGTERM and SIGUSR1 end the process themselves.
"""

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from covary.stop import Stop
from reliability import runs
from reliability.row import Count, Figure, Row, replaced
from reliability.rows.a1_kill import newest_step

PLACES = {
    "step": "covary.step.make_views",
    "save": "covary.rundir._write_synced",
    "evaluation": "covary.online.OnlineKnn.accuracy",
    "building": "covary.data.build._write",
}
SIGNALS = (
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGUSR1,),
    (signal.SIGINT, signal.SIGINT),
)
BEFORE = 2  # files that are written before the first save: run.json, skipped.jsonl
WITHIN = 5.0  # seconds from the signal to the end of the process


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Send signals to runs while they do each thing; look at code, time and checkpoint, then continue to the end."""
    runs.prepare(folder)
    draw, count, waits = random.Random(seed), Count(), []
    reference = runs.finish(folder / "reference")
    for _, (place, signals) in zip(range(trials), itertools.cycle(itertools.product(PLACES, SIGNALS)), strict=False):
        run, sent = folder / "run", folder / "sent"
        options = ["--out", str(run), "--knn-epochs", "1"]
        if place == "building":
            options += ["--cache", str(folder / "fresh")]
        first = {"step": 1, "save": BEFORE}.get(place)
        call = draw.randrange(first, runs.STEPS - 1) if first else 0
        with runs.at_call(call, PLACES[place], partial(send, signals, sent)):
            code = runs.ended(runs.fork(lambda given=tuple(options): runs.command(*given)))
        waits.append(time.monotonic() - float(sent.read_text()) if sent.exists() else 0.0)
        newest, wanted = newest_step(run), least(place, call, signals)
        seen = runs.finish(run)
        held = (
            code in (128 + signals[0], *(() if wanted else (-signals[0],)))
            and newest is not None
            and newest >= wanted
            and waits[-1] < WITHIN
            and seen == reference
        )
        name = f"{' and '.join(one.name for one in signals)} in {place} {call}"
        count.add(name, held=held, fired=sent.exists(), seen=f"code {code}, from step {newest}, {seen}")
        shutil.rmtree(run)
        shutil.rmtree(folder / "fresh", ignore_errors=True)
        sent.unlink(missing_ok=True)
    waits.sort()
    return count.figure(**{"p95 seconds": round(waits[int(0.95 * (len(waits) - 1))], 2)})


def send(signals: tuple[signal.Signals, ...], sent: Path) -> None:
    """Send signals to this process, and note when."""
    sent.write_text(str(time.monotonic()))
    for one in signals:
        os.kill(os.getpid(), one)


def least(place: str, call: int, signals: tuple[signal.Signals, ...]) -> int:
    """Return the step that a checkpoint must be of, or a later one: that of the signal; a second SIGINT waits for none.

    Every step saves, and a save writes two files, after the ``BEFORE``.
    """
    finished = {"step": call, "save": (call - BEFORE) // 2, "evaluation": runs.PER_EPOCH - 1, "building": 0}[place]
    waited = len(signals) == 1 and place != "building"
    return finished + waited


@contextmanager
def nothing_noted() -> Iterator[Stop]:
    """Leave signals to Python, as most training scripts do."""
    yield Stop()


ROW = Row(
    id="A5",
    promise="SIGTERM, SIGINT and SIGUSR1 stop a run within 5 s after a checkpoint; the next start continues bit by bit",
    trials={"ci": 40, "release": 160},
    check=check,
    mutants={"signals left to Python": replaced("covary.training.stop_signals", nothing_noted)},
    mutant_trials=4,
)
