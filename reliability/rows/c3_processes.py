"""C3: several processes compute the loss and the gradient that one process computes from the whole batch."""

import math
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from covary import dist
from covary.augment import make_views
from covary.nets import convert_batchnorm
from covary.step import backward
from covary.types import Batch
from reliability.ranks import HERE, results
from reliability.row import Count, Figure, Row, replaced
from reliability.small import VARIANTS, small_run

WORLDS = (2, 4)
ROWS = 16
LIMIT = 1e-5  # in float32, of the gradient's norm, and of a term or statistic where that is above 1
NAMES = (*VARIANTS, "stl with GroupNorm")
Found = dict[str, dict[str, list[float]]]


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Compare terms, gradients and statistics of every method, on as many processes as it is the turn of."""
    cases = [(name, world) for world in WORLDS for name in NAMES][:trials]
    count, worst = Count(), 0.0
    names = sorted({name for name, _ in cases})
    (right,) = results(partial(of_methods, names), 1, folder / "1")
    for world in WORLDS:
        mine = [name for name, each in cases if each == world]
        ranks = results(partial(of_methods, mine), world, folder / str(world)) if mine else []
        for name in mine:
            off = max(distance(rank[name], right[name]) for rank in ranks)
            worst = max(worst, off)
            count.add(f"{name} on {world}", held=off <= LIMIT, seen=f"differs by {off:.1e}")
    return count.figure(**{"largest difference": f"{worst:.0e}"})


def of_methods(names: list[str]) -> Found:
    """Return terms, gradients and statistics of each method in a step on this process's share of one batch."""
    return {name: {key: value.flatten().tolist() for key, value in of_method(name).items()} for name in names}


def of_method(name: str) -> dict[str, Tensor]:
    """Return the terms of a step, its gradients and the statistics of BatchNorm that it leaves."""
    variant, _, norm = name.partition(" with ")
    run = small_run(variant).resolved(HERE)
    torch.manual_seed(1)
    encoder = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.GroupNorm(4, 8) if norm else nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 6),
    )
    method = run.method.build(encoder, 6, run.augment)
    images = torch.randint(256, (ROWS, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    share = ROWS // dist.world_size()
    mine = torch.arange(dist.rank() * share, (dist.rank() + 1) * share)
    batch = Batch(images=images[mine], sizes=torch.full((share, 2), 8), positions=mine, epoch=0)
    module = dist.wrap(convert_batchnorm(method, HERE), HERE)
    terms = backward(run, module, make_views(batch, run.augment, seed=0))
    gradients = {f"gradient of {key}": p.grad for key, p in method.named_parameters() if p.grad is not None}
    return {**terms, **gradients, **dict(method.named_buffers())}


def distance(found: dict[str, list[float]], right: dict[str, list[float]]) -> float:
    """Return the largest difference of any tensor, relative to its own largest number, or to the gradient's norm."""
    if found.keys() != right.keys():
        return math.inf
    norm = math.sqrt(sum(x * x for name in right if name.startswith("gradient") for x in right[name]))
    return max(
        max(abs(a - b) for a, b in zip(found[name], right[name], strict=True))
        / (norm if name.startswith("gradient") else max(1.0, *map(abs, right[name])))
        for name in right
    )


def cut(ctx: object, grad: Tensor) -> Tensor:
    """Return a gradient of one's own rows alone: what autograd makes of torch's all_gather."""
    return grad.chunk(dist.world_size())[dist.rank()]


def of_one_rank(ctx: object, grad: Tensor) -> Tensor:
    """Return the gradient as it came: that of an all-reduce that autograd does not see."""
    return grad


ROW = Row(
    id="C3",
    promise="Two and four processes compute the loss and gradient of every method that one computes, to 1e-5",
    trials={"ci": len(NAMES) * len(WORLDS), "release": len(NAMES) * len(WORLDS)},
    check=check,
    mutants={
        "no gather": replaced(
            "covary.dist.all_gather_rows", lambda x: x.repeat(dist.world_size(), *[1] * (x.ndim - 1))
        ),
        "gather without gradient": replaced("covary.dist._Gather.backward", staticmethod(cut)),
        "sum without gradient": replaced("covary.dist._Sum.backward", staticmethod(of_one_rank)),
        "gradient over number of processes": replaced(
            "covary.dist.mean_over_ranks", lambda x: dist.all_reduce_sum(x) / dist.world_size() ** 2
        ),
        "own BatchNorm": replaced("reliability.rows.c3_processes.convert_batchnorm", lambda module, device: module),
    },
    mutant_trials=len(NAMES),
)
