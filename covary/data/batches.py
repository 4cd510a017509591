"""The order of an epoch and its batches, from memory on the device or streamed to it: the same bits either way."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from covary import keyed
from covary.data.store import ImageStore
from covary.errors import InputError
from covary.types import Batch

SHARE = 0.5  # of the device's free memory that images may take; the rest is for the model
AHEAD = 4  # batches prepared before they are asked for, when streamed
READERS = 2  # threads that prepare them


class Batches:
    """The batches of every epoch of a store, as a function of (seed, epoch, step).

    batch_size: images of a step over all ranks; rank r of W gets rows [r b / W, (r + 1) b / W) of each.
    residence:  "resident": all images lie in the device's memory (on a CPU: in the memory map). "streamed": threads
                gather the coming batches and copy them over. "auto": resident where the images take at most half of
                what is free.

    The order of an epoch is ``keyed.permutation(n, seed, "order", epoch)``; the last, incomplete batch is left out.
    Images of a batch are padded to its largest, over all ranks.
    """

    steps_per_epoch: int
    residence: Literal["resident", "streamed"]
    reason: str

    def __init__(
        self,
        store: ImageStore,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        residence: Literal["auto", "resident", "streamed"] = "auto",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world:
            raise InputError(
                f"batch size {batch_size} cannot be shared by {world} process(es); "
                f"choose a positive multiple of {world}."
            )
        if batch_size > len(store):
            raise InputError(
                f"batch size {batch_size} is larger than the {len(store)} images of {store.name} ({store.split}); "
                f"choose at most {len(store)}, or give more images."
            )
        self._store = store
        self._seed = seed
        self._device = device
        self._batch = batch_size
        share = batch_size // world
        self._rows = slice(rank * share, (rank + 1) * share)
        self.steps_per_epoch = len(store) // batch_size
        self.residence, self.reason = choose_residence(store.nbytes, device, residence)
        self._resident = store.pixels.to(device) if self.residence == "resident" else None

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[Batch]:
        """Yield this rank's batches of an epoch, from ``start_step`` on."""
        order = keyed.permutation(len(self._store), seed=self._seed, stream="order", epoch=epoch).numpy()
        steps = range(start_step, self.steps_per_epoch)
        if self._resident is not None:
            for step in steps:
                yield self._gather(order, epoch, step, self._resident)
        else:
            yield from self._stream(order, epoch, steps)

    def _stream(self, order: np.ndarray, epoch: int, steps: range) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(READERS) as readers:
            try:
                for step in steps:
                    waiting.append(readers.submit(self._gather, order, epoch, step, self._store.pixels))
                    if len(waiting) > AHEAD:
                        yield self._moved(waiting.popleft().result())
                while waiting:
                    yield self._moved(waiting.popleft().result())
            finally:
                readers.shutdown(cancel_futures=True)

    def _gather(self, order: np.ndarray, epoch: int, step: int, pixels: Tensor) -> Batch:
        """Gather this rank's rows of a step on the device of ``pixels``; pinned where they go to CUDA from here."""
        everyone = order[step * self._batch : (step + 1) * self._batch]
        rows = everyone[self._rows]
        canvas = self._store.canvas(everyone)
        pinned = pixels.device.type == "cpu" and self._device.type == "cuda"
        out = torch.empty((len(rows), 3, *canvas), dtype=torch.uint8, pin_memory=True) if pinned else None
        first = step * self._batch + self._rows.start
        return Batch(
            images=self._store.gather(rows, pixels=pixels, canvas=canvas, out=out),
            sizes=torch.from_numpy(self._store.sizes[rows]),
            positions=torch.arange(first, first + len(rows)),
            epoch=epoch,
        )

    def _moved(self, batch: Batch) -> Batch:
        images = batch.images.to(self._device, non_blocking=True)
        return Batch(images=images, sizes=batch.sizes, positions=batch.positions, epoch=batch.epoch)


def choose_residence(
    needed: int, device: torch.device, residence: Literal["auto", "resident", "streamed"]
) -> tuple[Literal["resident", "streamed"], str]:
    """Return where the images are read from, and why, as a line to print."""
    free = _free_bytes(device)
    facts = f"images need {_size(needed)}, {device} has {_size(free)} free"
    if residence != "auto":
        return residence, f"{residence}: as asked; {facts}"
    if needed <= SHARE * free:
        return "resident", f"resident: {facts}"
    return "streamed", f"streamed: {facts}, of which images may take {SHARE:.0%}"


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as file:
            available = next(line for line in file if line.startswith("MemAvailable:"))
        return int(available.split()[1]) * 1024
    except (OSError, StopIteration):  # not Linux: all of the memory there is
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
