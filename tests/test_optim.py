"""Schedule, parameter groups, LARS and the guard against non-finite steps."""

import math

import pytest
import torch
from torch import nn

from covary.errors import InputError
from covary.optim import (
    LARS_TRUST,
    OptimConfig,
    build_optimizer,
    learning_rate,
    scale_gradients_lars_,
)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))


def gradients(module: nn.Module) -> None:
    torch.manual_seed(1)
    module(torch.randn(8, 4)).square().sum().backward()


@pytest.mark.parametrize("by", ["step", "epoch"])
def test_cosine_equals_torch(by: str) -> None:
    per_epoch, epochs = 7, 5
    config = OptimConfig(lr=0.3, schedule_by=by)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(net().parameters(), lr=0.3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, per_epoch * epochs if by == "step" else epochs)
    for step in range(per_epoch * epochs):
        mine = learning_rate(config, step, steps_per_epoch=per_epoch, epochs=epochs)
        assert mine == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-12)
        optimizer.step()
        if by == "step" or step % per_epoch == per_epoch - 1:
            scheduler.step()


def test_warmup_rises_to_the_peak_and_the_cosine_ends_at_zero() -> None:
    config = OptimConfig(lr=1.0, warmup_epochs=2)
    rates = [learning_rate(config, step, steps_per_epoch=5, epochs=10) for step in range(50)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates == [*rates[:10], *sorted(rates[10:], reverse=True)]
    assert rates[49] == pytest.approx(0.5 * (1 + math.cos(math.pi * 39 / 40)))


def test_vectors_are_their_own_group() -> None:
    module = net()
    optimizer = build_optimizer(OptimConfig(decay_norm_and_bias=False), module)
    shapes = [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups]
    assert shapes == [[(3, 4), (2, 3)], [(3,), (3,), (3,)]]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0]


def test_parts_with_a_constant_rate_are_groups_of_their_own() -> None:
    module = nn.ModuleDict({"body": net(), "predictor": net(), "predictors": nn.Linear(2, 2, bias=False)})
    module["body"][0].requires_grad_(False)
    groups = build_optimizer(OptimConfig(constant_lr=("predictor",), decay_norm_and_bias=False), module).param_groups
    shapes = [[tuple(p.shape) for p in group["params"]] for group in groups]
    assert shapes == [[(2, 3), (2, 2)], [(3,), (3,)], [(3, 4), (2, 3)], [(3,), (3,), (3,)]]
    assert [group["constant"] for group in groups] == [False, False, True, True]
    assert [group["weight_decay"] for group in groups] == [5e-4, 0.0, 5e-4, 0.0]


def test_a_constant_rate_for_a_part_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"optim\.constant_lr names 'prediktor', but the method has no part of that"):
        build_optimizer(OptimConfig(constant_lr=("prediktor",)), net())


@pytest.mark.parametrize("vectors", [True, False])
def test_lars_equals_the_algorithm_written_out(vectors: bool) -> None:
    config = OptimConfig(name="lars", lr=0.5, momentum=0.9, weight_decay=0.01, decay_norm_and_bias=vectors)
    module = net().double()
    optimizer = build_optimizer(config, module)
    expected = [p.detach().clone() for p in module.parameters()]
    momenta = [torch.zeros_like(p) for p in expected]
    for _ in range(3):
        torch.manual_seed(1)
        module(torch.randn(8, 4, dtype=torch.float64)).square().sum().backward()
        for index, parameter in enumerate(module.parameters()):
            weight, gradient = expected[index], parameter.grad
            assert gradient is not None
            step = gradient
            if weight.ndim > 1 or vectors:
                norms = weight.norm(), gradient.norm()
                ratio = (
                    LARS_TRUST * norms[0] / (norms[1] + config.weight_decay * norms[0])
                    if norms[0] > 0 and norms[1] > 0
                    else 1.0
                )
                step = ratio * (gradient + config.weight_decay * weight)
            momenta[index] = config.momentum * momenta[index] + step
            expected[index] = weight - config.lr * momenta[index]
        scale_gradients_lars_(config, module.parameters())
        optimizer.step()
        optimizer.zero_grad()
    for mine, theirs in zip(module.parameters(), expected, strict=True):
        torch.testing.assert_close(mine.detach(), theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [("lr", -1.0), ("lr", math.nan), ("weight_decay", -1e-3), ("momentum", 1.0), ("warmup_epochs", -1)],
)
def test_values_outside_their_domain_are_refused(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"optim\.{field} is {value}; expected"):
        OptimConfig(**{field: value})  # type: ignore[arg-type]
