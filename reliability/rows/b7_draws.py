"""B7: no two (epoch, position, view) draw alike, whatever the processes and the restarts; partners share what they should.

covary keeps no generator: a draw is a function of (seed, epoch, position, view), so there are no workers to seed.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from covary import keyed
from covary.augment import preset, sample
from covary.augment.sampling import SLOTS, TOTAL_SLOTS
from covary.data import Batches, Fit, load
from covary.types import Batch
from reliability.row import Count, Figure, Row, replaced

IMAGES, BATCH, EPOCHS, VIEWS = 48, 12, 2, 2
WORLDS = (1, 2, 3, 6)
ALIGNED = ("crop", "jitter")
RESTARTS = (None, 0, 2)  # the step of each epoch that a run is continued at; None: never stopped

Draws = dict[tuple[int, int, int], Tensor]  # by epoch, position and view


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Collect the words that every process reads in two epochs; look for equal ones, and for those partners share."""
    count, collisions, compared = Count(), 0, 0
    store = load(f"shapes:n={IMAGES}", split="train", fit=Fit.train(8), cache=folder / "cache")
    whole = drawn(store, world=1, restart=None, seed=seed)
    for world, restart, stream in list(product(WORLDS, RESTARTS, STREAMS))[:trials]:
        found = drawn(store, world=world, restart=restart, seed=seed)[stream]
        expected = len(found) if stream == "augment" else len(found) // 2  # partners have one aligned draw
        distinct = len({tuple(row.tolist()) for row in found.values()})
        collisions += abs(expected - distinct)
        compared += len(found)
        pairs = stream == "augment" or all(
            torch.equal(row, found[epoch, position ^ 1, view]) for (epoch, position, view), row in found.items()
        )
        same = found.keys() == whole[stream].keys() and all(
            torch.equal(row, whole[stream][place]) for place, row in found.items()
        )
        count.add(
            f"{stream}, {world} processes, continued at {restart}",
            held=distinct == expected and pairs and same,
            fired=len(found) == EPOCHS * IMAGES * VIEWS,
            seen=f"{distinct} distinct of {expected}, partners share {pairs}, as in one process {same}",
        )
    return count.figure(draws=compared, collisions=collisions)
