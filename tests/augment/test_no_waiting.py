"""On a device, views are made without a look at its numbers and without a copy that is waited for."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from covary.augment import Recipe, apply, augmix, augmix_ops, jitter, make_views, ops, views
from covary.types import Batch
from tests.augment.test_views import EVERYTHING, MIXED, PAPER, TURNED, batch_of

DEVICE = torch.device("meta")  # its tensors have no numbers: whoever asks for one is told so with an error


class Copies(TorchDispatchMode):
    """Notes the operations that bring tensors of the CPU to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = [x for x in args if isinstance(x, Tensor) and x.ndim > 0]
        if any(x.device.type == "cpu" for x in given) and isinstance(out, Tensor) and out.device == DEVICE:
            self.found.append(str(func))
        return out


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what ``send`` brought to the device, in copies that are not waited for."""
    sizes: list[int] = []

    def send(tensor: Tensor, device: torch.device) -> Tensor:
        sizes.append(tensor.nbytes)
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=device)

    for module in (augmix, augmix_ops, jitter, ops, views):
        monkeypatch.setattr(module, "send", send)
    return sizes


def on_device(batch: Batch) -> Batch:
    return Batch(
        images=torch.empty(batch.images.shape, dtype=torch.uint8, device=DEVICE),
        sizes=batch.sizes,
        positions=batch.positions,
        epoch=0,
    )


@pytest.mark.parametrize("recipe", [PAPER, EVERYTHING, MIXED, TURNED], ids=["paper", "everything", "augmix", "turned"])
def test_views_are_made_without_waiting(recipe: Recipe, sent: list[int]) -> None:
    batch = on_device(batch_of())
    with Copies() as copies:
        made = make_views(batch, recipe, seed=1)
    assert made.images.device == DEVICE
    assert made.images.shape == (2, 48, 3, 32, 32)
    assert copies.found == []
    assert len(sent) > 0
    assert sum(sent) < batch.images.nbytes / 4  # numbers, no images


def test_other_copies_are_found() -> None:
    with Copies() as copies:
        torch.ones(3).to(DEVICE)
        torch.empty(3, device=DEVICE).copy_(torch.ones(3))
    assert len(copies.found) >= 2


def test_numbers_cannot_be_read(sent: list[int]) -> None:
    batch = on_device(batch_of(b=4))
    with pytest.raises((RuntimeError, NotImplementedError)):
        apply(batch.images, torch.empty(2, 4, 15, device=DEVICE), PAPER, sizes=batch.sizes)
