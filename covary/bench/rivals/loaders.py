"""Images that worker processes transform one by one, as torch's DataLoader does it."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from covary.bench.timing import Block
from covary.meter import seconds

PREFETCH = 2  # batches that each worker prepares ahead: DataLoader's default


class Transformed(Dataset[Tensor]):
    """Decoded images behind a transformation that returns an image's views; item: (v, 3, s, s)."""

    def __init__(self, images: Sequence[Any], transform: Callable[[Any], Sequence[Tensor]]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.stack(list(self.transform(self.images[index])))


class Repeated:
    """Makes so many views of an image by the transformation of one."""

    def __init__(self, transform: Callable[[Any], Tensor], count: int) -> None:
        self.transform, self.count = transform, count

    def __call__(self, image: Any) -> list[Tensor]:
        """Return the views."""
        return [self.transform(image) for _ in range(self.count)]


class Draws(Sampler[list[int]]):
    """Rows of ``batches`` batches an epoch, drawn with equal chances."""

    def __init__(self, images: int, batch_size: int) -> None:
        self.images, self.batch_size, self.batches = images, batch_size, 0

    def __iter__(self) -> Iterator[list[int]]:
        for _ in range(self.batches):
            yield torch.randint(self.images, (self.batch_size,)).tolist()


def loaded(
    data: Transformed, use: Callable[[Tensor], object], *, batch_size: int, workers: int, device: torch.device
) -> Block:
    """Return the block that loads batches and uses each, a tensor (v, b, 3, s, s) on the device.

    Workers are kept alive. What is timed is the middle of an epoch: before it comes what fills their queue, after it
    what they have prepared ahead, so that the timed batches are made in the time that is taken, and nobody works while
    others have their turn. Workers deliver at about the same moment: a block times whole rounds of them.
    """
    draws = Draws(len(data), batch_size)
    loader = DataLoader(
        data,
        batch_sampler=draws,
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
        pin_memory=device.type == "cuda",
    )
    ahead = workers * PREFETCH

    def step(batch: Tensor) -> None:
        use(batch.to(device, non_blocking=True).transpose(0, 1))

    def block(count: int) -> float:
        timed = -(-count // workers) * workers
        draws.batches = ahead + timed + ahead
        batches = iter(loader)
        for batch in itertools.islice(batches, ahead):
            step(batch)
        took = seconds(lambda: [step(batch) for batch in itertools.islice(batches, timed)], device)
        for _ in batches:
            pass
        return took / timed

    return block
