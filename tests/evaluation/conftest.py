"""Image stores in memory, as the data layer would return them."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

from covary.data import ImageStore
from covary.data.decoded import DecodedStore

MakeStore = Callable[..., ImageStore]


@pytest.fixture
def make_store() -> MakeStore:
    """Return a function that makes a store of square images whose colour tells their class, noise apart."""

    def make(
        labels: Sequence[int],
        *,
        classes: tuple[str, ...] = ("red", "green", "blue"),
        split: str = "train",
        size: int = 8,
        seed: int = 0,
    ) -> ImageStore:
        n = len(labels)
        pixels = torch.randint(0, 100, (n, 3, size, size), generator=torch.Generator().manual_seed(seed))
        for image, label in zip(pixels, labels, strict=True):
            image[label] += 120
        return DecodedStore(
            name="colours",
            split=split,
            classes=classes,
            labels=np.asarray(labels, dtype=np.int64),
            names=tuple(f"{i}.png" for i in range(n)),
            sizes=np.full((n, 2), size),
            skipped=(),
            converted={},
            ignored=0,
            digests=np.stack([np.frombuffer(hashlib.md5(p.numpy().tobytes()).digest(), np.uint8) for p in pixels]),
            spans=(np.arange(n)[:, None] + [0, 1]) * 3 * size * size,
            pixels=pixels.to(torch.uint8).flatten(),
        )

    return make
