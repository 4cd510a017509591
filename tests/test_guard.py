"""The guard: nothing that a step changes stays where the step is not finite."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from covary.guard import FiniteGuard, all_finite
from covary.nets import Teacher
from covary.optim import OptimConfig, build_optimizer

CPU = torch.device("cpu")


class Taught(nn.Module):
    """A network with a teacher, BatchNorm, a queue, and a mask that is meant to be infinite."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student = nn.Sequential(nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
        self.teacher = Teacher({"student": self.student}, momentum=0.5)
        self.register_buffer("queue", torch.zeros(2, 4))
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))


def take(module: Taught, guard: FiniteGuard, optimizer: torch.optim.Optimizer, step: int, bad: str = "") -> None:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(6, 3, 2, 2, generator=generator) * (1e30 if bad == "statistics" else 1)
    features = module.student(images).flatten(1)
    loss = features.square().mean() * (math.nan if bad == "loss" else 1)
    loss.backward()
    if bad == "gradient":
        next(module.student.parameters()).grad.fill_(math.inf)
    guard.check(optimizer, loss, step)
    optimizer.step()
    optimizer.zero_grad()
    module.teacher.follow(0.5)
    module.queue.copy_(features.detach()[:2])
    guard.keep()


def state(module: Taught, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    kept = [value for entries in optimizer.state_dict()["state"].values() for value in entries.values()]
    return [tensor.clone() for tensor in [*module.state_dict().values(), *kept]]


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
@pytest.mark.parametrize("bad", ["loss", "gradient", "statistics"])
def test_nothing_stays_of_the_first_step_that_is_not_finite_and_of_those_after_it(name: Any, bad: str) -> None:
    module = Taught()
    optimizer = build_optimizer(OptimConfig(name=name), module)
    guard = FiniteGuard(module, CPU)
    take(module, guard, optimizer, 0)
    first = state(module, optimizer)
    take(module, guard, optimizer, 1)
    before = state(module, optimizer)
    assert not all(torch.equal(a, b) for a, b in zip(first, before, strict=True))
    assert guard.first_bad() is None
    take(module, guard, optimizer, 2, bad)
    take(module, guard, optimizer, 3)
    assert guard.first_bad() == 2
    guard.restore()
    assert all(torch.equal(a, b) for a, b in zip(before, state(module, optimizer), strict=True))


def test_weights_and_momentum_that_overflow_are_found() -> None:
    module = Taught()
    optimizer = build_optimizer(OptimConfig(), module)
    take(module, FiniteGuard(module, CPU), optimizer, 0)
    assert all_finite(optimizer)
    weight = next(module.student.parameters())
    momentum = optimizer.state[weight]["momentum_buffer"]
    for tensor in (weight.detach(), momentum):
        kept = tensor.clone()
        tensor[0] = math.inf
        assert not all_finite(optimizer)
        tensor.copy_(kept)
