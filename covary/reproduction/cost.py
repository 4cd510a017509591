"""Time of a training step and memory of a run, in multiples of another's: the paper's table 1 (section 3.3).

A step is forward, backward, optimiser and teacher on views that lie ready: noise in their shape. The two runs take
turns, step by step after a warm-up, so that a busy moment meets both; the ratio is that of the medians. The paper times
forward and backward on an RTX 3090, mean of 1,000 steps after 1,000; image size and precision are not stated there.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from covary.errors import InputError
from covary.meter import extra_bytes, seconds
from covary.run import Run
from covary.step import build
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a step of a run takes: times in seconds, medians; memory in bytes.

    ratio:     of the step's time to the reference's.
    quartiles: of the ratios of the steps taken in turn.
    phases:    seconds of forward, backward and update, timed apart.
    standing:  weights and momentum.
    peak:      of a step above them, gradients included; nan on a system that does not tell.
    """

    seconds: float
    ratio: float
    quartiles: tuple[float, float]
    phases: tuple[float, ...]
    standing: int
    peak: float


def cost(run: Run, *, reference: Run, device: torch.device, steps: int, warmup: int) -> Cost:
    """Measure ``steps`` steps of a run in turn with as many of the reference, after ``warmup`` of each.

    Raises InputError: fewer than two steps, of which no quartiles can be taken.
    """
    if steps < 2:
        raise InputError(f"steps is {steps}; expected 2 or more.")
    base, own = (_step(each.resolved(device), device) for each in (reference, run))
    for _ in range(warmup):
        base()
        own()
    peak = extra_bytes(own, device)
    turns = [(seconds(base, device), seconds(own, device)) for _ in range(steps)]
    phases = zip(*(own.phases(device) for _ in range(steps)), strict=True)
    base_median, median = (statistics.median(times) for times in zip(*turns, strict=True))
    low, _, high = statistics.quantiles((own_time / base_time for base_time, own_time in turns), n=4)
    return Cost(
        seconds=median,
        ratio=median / base_median,
        quartiles=(low, high),
        phases=tuple(statistics.median(phase) for phase in phases),
        standing=own.standing,
        peak=peak,
    )


@dataclass(frozen=True, kw_only=True)
class _Step:
    """A training step, and the bytes of what stands between steps."""

    forward: Callable[[], torch.Tensor]
    update: Callable[[], None]
    standing: int

    def __call__(self) -> None:
        self.forward().backward()
        self.update()

    def phases(self, device: torch.device) -> list[float]:
        """Return the seconds of forward, backward and update."""
        losses: list[torch.Tensor] = []
        jobs = (lambda: losses.append(self.forward()), lambda: losses[0].backward(), self.update)
        return [seconds(job, device) for job in jobs]


def _step(run: Run, device: torch.device) -> _Step:
    """Return a training step of a resolved run."""
    method, optimizer = build(run, device)
    views = _views(run, device)
    method.train()

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16"):
            return method(views)["loss"]

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(0.5)

    standing = sum(p.nbytes * (2 if p.requires_grad else 1) for p in method.parameters())
    return _Step(forward=forward, update=update, standing=standing)


def _views(run: Run, device: torch.device) -> Views:
    """Return noise in the shape of the run's views, with numbers between 0 and 1."""
    recipe, b = run.augment, run.batch_size
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    numbers = max(column.stop for column in recipe.columns.values())
    turned = noise(4, b, 3, recipe.turned.size, recipe.turned.size) if recipe.turned else None
    images = noise(recipe.views, b, 3, recipe.size, recipe.size)
    params = torch.rand(recipe.views, b, numbers, generator=generator).to(device)
    return Views(images=images, params=params, partners=recipe.partners, turned=turned)
