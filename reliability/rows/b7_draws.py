"""B7: no two (epoch, position, view) draw alike, whatever the processes and restarts; partners share the aligned draws.

covary keeps no generator: a draw is a function of (seed, epoch, position, view), so there are no workers to seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from covary import keyed
from covary.augment import preset, sample
from covary.augment.recipe import ColorJitter, Crop, GaussianBlur, Recipe, Rotation
from covary.data import Batches, Fit, ImageStore, Residence, load
from covary.types import Batch
from reliability.row import Count, Figure, Row, replaced

IMAGES, BATCH, EPOCHS = 48, 12, 2
WORLDS = (1, 2, 3, 6)
RESIDENCES: tuple[Residence, ...] = ("resident", "streamed")
RESTARTS = (0, 1, 3)  # steps of each epoch after which the run begins anew
SHARED = ("brightness", "contrast", "saturation", "hue")  # columns of what is aligned
OWN = ("angle", "blur")  # continuous columns of what is not
RECIPE = replace(
    preset("paper", size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    targets=("jitter",),
    partners=True,
    crop=Crop(),
    rotation=Rotation(p=1.0),
    jitter=ColorJitter(p=1.0),
    blur=GaussianBlur(p=1.0),
)

Draws = dict[tuple[int, int, int], Tensor]  # a row of numbers by epoch, position and view


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Collect the numbers of every view of two epochs; count the draws that are there twice."""
    count, collisions = Count(), 0
    store = load(f"shapes:n={IMAGES}", split="train", fit=Fit.train(8), cache=folder / "cache")
    whole = drawn(store, RECIPE, world=1, residence="resident", restart=0, seed=seed)
    for world, residence, restart in list(product(WORLDS, RESIDENCES, RESTARTS))[:trials]:
        found = drawn(store, RECIPE, world=world, residence=residence, restart=restart, seed=seed)
        own, shared = columns(found, OWN), columns(found, SHARED)
        twice = len(own) - len(distinct(own)) + len(shared) // 2 - len(distinct(shared))
        collisions += abs(twice)
        aligned = all(torch.equal(row, shared[partner(place)]) for place, row in shared.items())
        apart = not any((row == own[partner(place)]).any() for place, row in own.items())
        same = found.keys() == whole.keys() and all(torch.equal(row, whole[place]) for place, row in found.items())
        count.add(
            f"{world} processes, {residence}, anew after step {restart}",
            held=twice == 0 and aligned and apart and same,
            fired=len(found) == EPOCHS * IMAGES * RECIPE.views,
            seen=f"{twice} draws twice, partners share {aligned}, only that {apart}, as in one process {same}",
        )
    return count.figure(collisions=collisions)


def drawn(store: ImageStore, recipe: Recipe, *, world: int, residence: Residence, restart: int, seed: int) -> Draws:
    """Return the numbers of every view that the processes of a run make, each process anew after some steps."""
    found: Draws = {}
    for rank, epoch in product(range(world), range(EPOCHS)):
        for batch in shares(store, rank=rank, world=world, residence=residence, epoch=epoch, restart=restart):
            numbers = sample(recipe, seed=seed, epoch=epoch, positions=batch.positions, sizes=batch.sizes)
            for (row, position), view in product(enumerate(batch.positions.tolist()), range(recipe.views)):
                found[epoch, position, view] = numbers[view, row]
    return found


def shares(
    store: ImageStore, *, rank: int, world: int, residence: Residence, epoch: int, restart: int
) -> Iterator[Batch]:
    """Yield a process's batches of an epoch: some from one start, the rest from another."""
    for start, count in ((0, restart), (restart, None)):
        batches = Batches(
            store,
            batch_size=BATCH,
            seed=0,
            device=torch.device("cpu"),
            residence=residence,
            rank=rank,
            world=world,
        )
        yield from islice(batches.epoch(epoch, start_step=start), count)


def columns(found: Draws, names: tuple[str, ...]) -> Draws:
    """Return the numbers of some columns."""
    wanted = [index for name in names for index in range(10**3)[RECIPE.columns[name]]]
    return {place: row[wanted] for place, row in found.items()}


def distinct(found: Draws) -> set[tuple[float, ...]]:
    """Return the rows that differ."""
    return {tuple(row.tolist()) for row in found.values()}


def partner(place: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return where the partner's numbers are."""
    epoch, position, view = place
    return epoch, position ^ 1, view


def keyed_by(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[..., Tensor]:
    """Return the source of words with its key changed."""
    return lambda **key: uniform(**{**key, **change(key)})


uniform = keyed.uniform

ROW = Row(
    id="B7",
    promise="Views share no draw but what partners should, on any number of processes and after any restart",
    trials={"ci": 24, "release": 24},
    check=check,
    mutants={
        "every epoch alike": replaced("covary.keyed.uniform", keyed_by(lambda key: {"epoch": 0})),
        "both views alike": replaced("covary.keyed.uniform", keyed_by(lambda key: {"view": 0})),
        "every process alike": replaced(
            "covary.keyed.uniform",
            keyed_by(lambda key: {"position": key["position"] - key["position"].min()}),
        ),
        "partners share all": replaced(
            "covary.keyed.uniform",
            keyed_by(lambda key: {"position": key["position"] // 2} if key["stream"] == "augment" else {}),
        ),
        "partners share nothing": replaced(
            "covary.keyed.uniform", keyed_by(lambda key: {"position": torch.randint(10**6, key["position"].shape)})
        ),
    },
    mutant_trials=8,
)
