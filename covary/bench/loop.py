"""The training loop as it is measured: the run's batches and the run's step, on images of noise in memory."""

import functools
import itertools

import numpy as np
import torch

from covary import dist
from covary.bench.settings import Case
from covary.data import Batches
from covary.data.decoded import DecodedStore
from covary.methods import AbstractConfig
from covary.step import Step, build
from covary.types import Batch

STORE_BYTES = 2**27  # of images of noise, as many as the caches of a processor do not hold: CIFAR-10 has 154 MB
LEAST_BATCHES = 8


class Loop:
    """The loop of ``covary.training`` without log and checkpoints: a call takes the next step of an endless run.

    run:  what is trained.
    step: takes its steps.
    """

    def __init__(self, case: Case, method: str | AbstractConfig = "simclr") -> None:
        self.run, device = case.run(method), case.device
        network, optimizer = build(self.run, device)
        network.train()
        batches = Batches(
            noise(case.setting.size, batch=case.setting.batch),
            batch_size=self.run.batch_size,
            seed=self.run.seed,
            device=device,
            rank=dist.rank(),
            world=dist.world_size(),
        )
        self.step = Step(self.run, network, optimizer, device=device, per_epoch=batches.steps_per_epoch)
        self._batches = itertools.chain.from_iterable(batches.epoch(epoch) for epoch in itertools.count())
        self._index = itertools.count()

    def __call__(self) -> None:
        """Take the next step."""
        self.step(self.batch(), self.index())

    def batch(self) -> Batch:
        """Return the next batch."""
        return next(self._batches)

    def index(self) -> int:
        """Return the number of the next step."""
        return next(self._index)


@functools.lru_cache(maxsize=1)
def noise(size: int, *, batch: int) -> DecodedStore:
    """Return a store of noise in memory, images of (size, size) pixels: ``STORE_BYTES``, or ``LEAST_BATCHES``."""
    length = 3 * size * size
    count = max(LEAST_BATCHES * batch, STORE_BYTES // length)
    generator = torch.Generator().manual_seed(0)
    return DecodedStore(
        name="noise",
        split="train",
        classes=None,
        labels=None,
        names=tuple(map(str, range(count))),
        sizes=np.full((count, 2), size, dtype=np.int64),
        skipped=(),
        converted={},
        ignored=0,
        digests=np.zeros((count, 16), dtype=np.uint8),
        spans=(np.arange(count, dtype=np.int64)[:, None] + [0, 1]) * length,
        pixels=torch.randint(0, 256, (count * length,), dtype=torch.uint8, generator=generator),
    )
