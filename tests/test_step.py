"""A step waits for the device nowhere."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from syncs import GPU, Syncs, fake_gpu
from tiny import FEATURES, RECIPE, VARIANTS, tiny_encoder
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException

from covary.data import Batches, Fit, load
from covary.methods import AbstractMethod
from covary.optim import OptimConfig, build_optimizer
from covary.recipes import start_run
from covary.run import Run
from covary.step import Step, backward, build
from covary.tracking import Meter
from covary.types import Views

variant = pytest.mark.parametrize("variant", VARIANTS)
IMAGES = 6


def run_of(variant: str, **changes: Any) -> Run:
    run = start_run(data="shapes:n=64", image_size=4)
    run = replace(
        run,
        method=VARIANTS[variant],
        augment=VARIANTS[variant].fit(RECIPE),
        batch_size=IMAGES,
        precision="fp32",
        **changes,
    )
    return run.resolved(GPU)


def meta_method(variant: str) -> AbstractMethod:
    """A method without memory, to be made one of fake tensors: a teacher copies its students, which fakes have none."""
    with torch.device("meta"):
        return VARIANTS[variant].build(tiny_encoder(), FEATURES, RECIPE)


def fake_views(device: torch.device) -> Views:
    images = torch.empty(2, IMAGES, 3, 4, 4, device=device)
    return Views(
        images=images,
        params=torch.empty(2, IMAGES, 15, device=device),
        partners=True,
        turned=torch.empty(4, IMAGES, 3, 4, 4, device=device),
    )


@pytest.fixture
def no_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let backward fill gradients with anything: autograd's engine refuses fake tensors of a GPU that is not there."""

    def backward(loss: Tensor) -> None:
        for leaf in leaves(loss.grad_fn):
            leaf.grad = torch.empty_like(leaf)

    monkeypatch.setattr(Tensor, "backward", backward)


def leaves(node: Any) -> list[Tensor]:
    found, seen, waiting = [], set(), [node]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [following for following, _ in node.next_functions]
    return found


@pytest.mark.usefixtures("no_backward")
@pytest.mark.parametrize(
    ("variant", "optimizer"), [*((variant, "sgd") for variant in VARIANTS), ("byol", "adamw"), ("byol", "lars")]
)
def test_an_update_waits_for_the_device_nowhere(variant: str, optimizer: Any) -> None:
    run, method = run_of(variant, optim=OptimConfig(name=optimizer)), meta_method(variant)
    with fake_gpu() as syncs:
        method.to_empty(device=GPU)
        step = Step(run, method, build_optimizer(run.optim, method), device=GPU, per_epoch=2)
        views, meter = fake_views(GPU), Meter()
        for index in range(2):
            meter.add(step.update(views, index))
    assert syncs.found == []


@variant
def test_backward_waits_for_the_device_nowhere(variant: str) -> None:
    """On fake tensors of a CPU, as autograd's engine refuses others without a GPU; a value still cannot be read."""
    run, method, cpu = run_of(variant), meta_method(variant), torch.device("cpu")
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes:
        method.to_empty(device=cpu)
        views = fake_views(cpu)
        with Syncs(fakes) as syncs:
            backward(run, method, views)
    assert syncs.found == []
    assert all(p.grad is not None for p in method.parameters() if p.requires_grad)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_steps_on_a_gpu_wait_nowhere(optimizer: Any) -> None:
    """By CUDA's own account; the first steps, which start libraries, may wait."""
    run = replace(start_run(data="shapes:n=64", image_size=32), encoder="resnet8", batch_size=16)
    run = replace(run, optim=OptimConfig(name=optimizer), epochs=2).resolved(GPU)
    store = load(run.data, split="train", fit=Fit.train(run.augment.size))
    batches = Batches(store, batch_size=run.batch_size, seed=run.seed, device=GPU)
    step, meter = Step(run, *build(run, GPU), device=GPU, per_epoch=batches.steps_per_epoch), Meter()
    try:
        for index, batch in enumerate(batch for epoch in range(run.epochs) for batch in batches.epoch(epoch)):
            torch.cuda.set_sync_debug_mode("error" if index > 2 else "default")
            meter.add(step(batch, index))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert step.first_bad is None
    assert meter.read()["loss"] > 0


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.cpu(),
        lambda x: x.copy_(torch.empty(3)),
        lambda x: x[torch.zeros(2, dtype=torch.long)],
        lambda x: x + torch.tensor([1.0, 2.0, 3.0], device=GPU),
        lambda x: x[[0, 1]],
        lambda x: torch.empty(3, pin_memory=True).to(GPU),
        lambda x: torch.empty(3).to(GPU, non_blocking=True),
        lambda x: torch.empty(3, device=GPU).to("cpu", non_blocking=True),
    ],
)
def test_copies_are_found(waits: Callable[[Tensor], object]) -> None:
    with fake_gpu() as syncs:
        waits(torch.empty(3, device=GPU))
    assert len(syncs.found) >= 1


@pytest.mark.parametrize("waits", [Tensor.item, bool, Tensor.nonzero, lambda x: x[x > 0], lambda x: torch.equal(x, x)])
def test_values_cannot_be_read(waits: Callable[[Tensor], object]) -> None:
    with fake_gpu(), pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
        waits(torch.empty((), device=GPU) if waits in (Tensor.item, bool) else torch.empty(3, device=GPU))


def test_free_copies_are_not_found() -> None:
    with fake_gpu() as syncs:
        x = torch.empty(3, device=GPU)
        x.copy_(torch.empty(3, pin_memory=True), non_blocking=True)
        (x * 2 + torch.full((), 3.0, device=GPU)).masked_fill_(x > 0, 0.0)
        torch.empty(3).pin_memory().to(GPU, non_blocking=True)
    assert syncs.found == []
