"""A case of no size, and a store of few images."""

import pytest
import torch

import covary.bench.loop
from covary.bench import Case, Effort, Setting

TINY = Setting(encoder="resnet8", stem="imagenet", size=16, batch=8)


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep stores to eight batches."""
    monkeypatch.setattr("covary.bench.loop.STORE_BYTES", 0)
    covary.bench.loop.noise.cache_clear()


@pytest.fixture
def case() -> Case:
    """A ResNet-8 on eight images of 16 pixels, two rounds of one step."""
    effort = Effort(repeats=2, block_seconds=0, workers=1)
    return Case(name="tiny", setting=TINY, device=torch.device("cpu"), precision="fp32", compile="off", effort=effort)
