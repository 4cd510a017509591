"""Rivals get the same recipe, the same encoder and optimiser, and are timed while their queues are in balance."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

import covary.bench.rivals.loaders
import covary.bench.rivals.parts
from covary.augment import Recipe
from covary.bench import Case
from covary.bench.loop import Loop
from covary.bench.rivals.chains import kornia_chain, lightly_transform, torchvision_chain
from covary.bench.rivals.loaders import PREFETCH, Draws, Repeated, Transformed, loaded
from covary.bench.rivals.parts import TORCHVISION, rivals, times_covary
from covary.bench.rivals.steps import LightlySimCLR, decoded

CPU = torch.device("cpu")
forks = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on, beside torch's threads


def still(recipe: Recipe) -> Recipe:
    """The recipe with nothing left to chance: the whole image, unchanged."""
    crop = replace(recipe.crop, scale=(1.0, 1.0), ratio=(1.0, 1.0))
    return replace(
        recipe,
        crop=crop,
        flip=0.0,
        grayscale=0.0,
        jitter=replace(recipe.jitter, p=0.0),
        blur=replace(recipe.blur, p=0.0),
    )


def test_chains_without_chance_only_normalise(case: Case) -> None:
    recipe = still(case.run().augment)
    image = decoded(case, pil=False)[0]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (recipe.mean, recipe.std))
    expected = (image / 255 - mean) / std
    torch.testing.assert_close(torchvision_chain(recipe)(image), expected)
    torch.testing.assert_close(torchvision_chain(recipe)(to_pil_image(image)), expected)


@pytest.mark.parametrize("package", ["kornia", "lightly"])
def test_their_chains_do_too(package: str, case: Case) -> None:
    pytest.importorskip(package)
    recipe = still(case.run().augment)
    image = decoded(case, pil=False)[0]
    expected = torchvision_chain(recipe)(image)
    if package == "kornia":
        torch.testing.assert_close(kornia_chain(recipe)(image[None] / 255)[0], expected, atol=1e-4, rtol=0)
    else:
        views = lightly_transform(recipe)(to_pil_image(image))
        assert len(views) == 2
        torch.testing.assert_close(views[1], expected)


@pytest.mark.parametrize("name", ["crop", "flip", "jitter", "grayscale", "blur"])
def test_chains_do_each_operation_of_the_recipe(name: str, case: Case) -> None:
    """Each operation alone, always done, changes the image in every chain."""
    recipe, quiet = case.run().augment, still(case.run().augment)
    always = {
        "crop": {"crop": replace(recipe.crop, scale=(0.2, 0.3))},
        "flip": {"flip": 1.0},
        "jitter": {"jitter": replace(recipe.jitter, p=1.0)},
        "grayscale": {"grayscale": 1.0},
        "blur": {"blur": replace(recipe.blur, kernel=3, sigma=(1.0, 2.0), p=1.0)},
    }
    recipe = replace(quiet, **always[name])
    image = decoded(case, pil=False)[0]
    unchanged = torchvision_chain(quiet)(image)
    views = {"torchvision": torchvision_chain(recipe)(image)}
    if importlib.util.find_spec("kornia"):
        views["kornia"] = kornia_chain(recipe)(image[None] / 255)[0]
    if importlib.util.find_spec("lightly"):
        views["lightly"] = lightly_transform(recipe)(to_pil_image(image))[0]
    assert [rival for rival, view in views.items() if (view - unchanged).abs().mean() < 0.1] == []


def test_lightly_has_the_encoder_head_and_loss_of_the_run(case: Case) -> None:
    """All but the last norm, which lightly's projector has and covary's has not."""
    pytest.importorskip("lightly")
    theirs, loop = LightlySimCLR(case), Loop(case)
    shapes = [tuple(p.shape) for p in loop.step.module.parameters()]
    assert [tuple(p.shape) for p in theirs.parameters()] == [*shapes, (128,), (128,)]
    theirs.train()
    theirs(torch.randn(2, 8, 3, 16, 16)).backward()
    assert all(p.grad is not None for p in theirs.parameters())


def test_draws_are_as_many_as_told() -> None:
    draws = Draws(3, batch_size=100)
    assert list(draws) == []
    draws.batches = 2
    first, second = draws
    assert len(first) == len(second) == 100
    assert {*first} == {*second} == {0, 1, 2}


@forks
def test_a_loaders_middle_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it the queue is filled, after it what was prepared ahead is thrown away; whole rounds of workers."""
    used: list[Tensor] = []
    timed: list[tuple[int, int]] = []

    def seconds(job: Callable[[], object], device: torch.device) -> float:
        before = len(used)
        job()
        timed.append((before, len(used)))
        return 8.0

    monkeypatch.setattr(covary.bench.rivals.loaders, "seconds", seconds)
    images = [torch.full((3, 2, 2), float(value)) for value in range(5)]
    data = Transformed(images, Repeated(double, 2))
    block = loaded(data, used.append, batch_size=4, workers=2, device=CPU)
    ahead = 2 * PREFETCH
    assert block(3) == 2.0  # three steps become four, two of each worker
    assert timed == [(ahead, ahead + 4)]
    assert len(used) == ahead + 4
    assert used[0].shape == (2, 4, 3, 2, 2)
    assert torch.equal(used[0][0], used[0][1])
    assert {*torch.stack(used).unique().tolist()} <= {0.0, 2.0, 4.0, 6.0, 8.0}
    assert block(2) == 4.0


def double(image: Tensor) -> Tensor:
    return 2 * image


def test_torchvision_is_its_faster_form() -> None:
    seconds = {"covary": (1.0, 2.0), TORCHVISION[0]: (5.0, 5.0), TORCHVISION[1]: (3.0, 6.0), "lightly": (4.0, 8.0)}
    lines = {each.name: each.spread.median for each in times_covary(seconds, {})}
    assert lines == {"covary / torchvision": 3.0, "covary / lightly": 4.0}


def test_what_is_not_installed_is_said(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str, *arguments: Any) -> Any:
        return None if name in ("kornia", "lightly") else found(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(covary.bench.rivals.parts, "torchvision_step", lambda case, pil: lambda count: 1.0)
    finding = rivals(case)
    assert finding.notes == tuple(
        f"{name} is not installed, and so not measured; pip install {name}." for name in ("kornia", "lightly")
    )
    assert list(finding.seconds) == ["covary", *TORCHVISION]
