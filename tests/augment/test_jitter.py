"""Colour jitter: both forms against torchvision row by row, and the fused one compiled."""

import shutil

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from covary.augment import COLUMNS, JITTER_ORDERS, preset, sample
from covary.augment.jitter import UNCHANGED, four_steps, jitter_, jitter_mixed, orders

ROWS = 64
RECIPE = preset("paper", size=8, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def numbers():
    """The numbers of 64 views, with every order among them, and rows that nothing happens to."""
    positions = torch.arange(ROWS)
    params = sample(RECIPE, seed=0, epoch=0, positions=positions, sizes=torch.full((ROWS, 2), 8))[0]
    params[:24, COLUMNS["order"]] = torch.arange(24.0)[:, None]
    return params


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(ROWS, 3, 8, 8, generator=generator)
    images[0] = images[0, :1]  # gray: without a hue
    images[1], images[2] = 0.0, 1.0
    return images


def by_torchvision(images, numbers):
    rows = []
    for image, row in zip(images, numbers, strict=True):
        for name in JITTER_ORDERS[int(row[COLUMNS["order"]])]:
            image = getattr(tv, f"adjust_{name}")(image, float(row[COLUMNS[name]]))
        rows.append(image)
    return torch.stack(rows)


def by_order(images, numbers):
    kinds, changed = orders(numbers), images.clone()
    for order in kinds.unique().tolist():
        rows = kinds == order
        changed[rows] = jitter_(images[rows], numbers[rows], order)
    return changed


def test_orders_tell_rows_that_nothing_happens_to(numbers):
    unchanged = (numbers[:, COLUMNS["brightness"].start : COLUMNS["order"].start] == UNCHANGED).all(dim=1)
    assert 0 < unchanged.sum() < ROWS
    assert torch.equal(orders(numbers) == 0, unchanged)
    assert torch.equal(orders(numbers)[~unchanged], 1 + numbers[~unchanged, COLUMNS["order"]].long().squeeze(1))


@pytest.mark.parametrize("form", [by_order, jitter_mixed])
def test_equals_torchvision(images, numbers, form):
    torch.testing.assert_close(form(images, numbers), by_torchvision(images, numbers), rtol=0, atol=2e-5)


def test_rows_that_nothing_happens_to_keep_their_bits(images, numbers):
    rows = orders(numbers) == 0
    for form in (by_order, jitter_mixed):
        assert torch.equal(form(images, numbers)[rows], images[rows])


def test_the_fused_form_is_one_graph(images, numbers):
    steps = torch.rand(ROWS, 4, 4)
    one_graph = torch.compile(four_steps, fullgraph=True, backend="eager")  # raises where it breaks into several
    assert torch.equal(one_graph(images, steps), four_steps(images, steps))


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiles C++")
def test_the_compiled_form_equals_the_eager_one(images, numbers, monkeypatch):
    steps = {}
    monkeypatch.setattr("covary.augment.jitter.four_steps", lambda x, given: steps.setdefault("given", given))
    jitter_mixed(images, numbers)
    monkeypatch.undo()
    compiled = torch.compile(four_steps)(images, steps["given"])
    torch.testing.assert_close(compiled, four_steps(images, steps["given"]), rtol=0, atol=1e-4)
