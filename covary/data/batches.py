"""The order of an epoch and its batches, from memory on the device, copied or decoded ahead: the same bits always."""

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from covary import keyed
from covary.data.decoded import DecodedStore
from covary.data.encoded import EncodedStore
from covary.data.store import ImageStore
from covary.errors import InputError
from covary.types import Batch

Residence = Literal["auto", "resident", "streamed", "encoded"]

SHARE = 0.5  # of the device's free memory that images may take; the rest is for the model
AHEAD = 4  # batches that are being read before they are asked for, or more where these keep too few readers busy


class Batches:
    """The batches of every epoch of a store, as a function of (seed, epoch, step).

    batch_size: images of a step over all ranks; rank r of W gets rows [r b / W, (r + 1) b / W) of each.
    residence:  "resident": all images lie in the device's memory (on a CPU: in the memory map). "streamed": threads
                gather the coming batches and copy them over. "encoded": threads decode the coming batches, which are
                copied over; so is every ``EncodedStore`` read, and no other. "auto": resident where the images take at
                most half of what is free.
    readers:    threads that gather or decode; 0 for the store's own number.

    The order of an epoch is ``keyed.permutation(n, seed, "order", epoch)``; the last, incomplete batch is left out.
    Images of a batch are padded to its largest, over all ranks.
    """

    steps_per_epoch: int
    residence: Residence
    reason: str

    def __init__(
        self,
        store: ImageStore,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        residence: Residence = "auto",
        readers: int = 0,
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
        self._readers = readers or store.readers
        self.steps_per_epoch = len(store) // batch_size
        self.residence, self.reason = choose_residence(store, device, residence)
        self._resident = None
        if isinstance(store, DecodedStore) and self.residence == "resident":
            self._resident = store, store.pixels.to(device)

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[Batch]:
        """Yield this rank's batches of an epoch, from ``start_step`` on."""
        order = keyed.permutation(len(self._store), seed=self._seed, stream="order", epoch=epoch).numpy()
        steps = range(start_step, self.steps_per_epoch)
        if self._resident is not None:
            store, pixels = self._resident
            for step in steps:
                rows, batch = self._blank(order, epoch, step, device=self._device)
                store.gather(rows, pixels=pixels, out=batch.images)
                yield batch
        else:
            yield from self._stream(order, epoch, steps)

    def names(self, batch: Batch) -> list[str]:
        """Return the names of a batch's images."""
        order = keyed.permutation(len(self._store), seed=self._seed, stream="order", epoch=batch.epoch)
        return [self._store.names[row] for row in order[batch.positions].tolist()]

    def _stream(self, order: np.ndarray, epoch: int, steps: range) -> Iterator[Batch]:
        waiting: deque[tuple[Batch, list[Future[None]]]] = deque()
        with ThreadPoolExecutor(self._readers) as pool:
            try:
                for step in steps:
                    rows, batch = self._blank(order, epoch, step, device=torch.device("cpu"))
                    waiting.append((batch, self._store.read(rows, batch.images, pool)))
                    if len(waiting) > AHEAD and sum(len(pieces) for _, pieces in waiting) > 2 * self._readers:
                        yield self._moved(*waiting.popleft())
                while waiting:
                    yield self._moved(*waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)

    def _blank(self, order: np.ndarray, epoch: int, step: int, *, device: torch.device) -> tuple[np.ndarray, Batch]:
        """Return this rank's rows of a step, and their batch on a device, whose images are not written yet.

        Pinned where they are to go to CUDA from the CPU.
        """
        everyone = order[step * self._batch : (step + 1) * self._batch]
        rows = everyone[self._rows]
        first = step * self._batch + self._rows.start
        return rows, Batch(
            images=torch.empty(
                (len(rows), 3, *self._store.canvas(everyone)),
                dtype=torch.uint8,
                device=device,
                pin_memory=device.type == "cpu" and self._device.type == "cuda",
            ),
            sizes=torch.from_numpy(self._store.sizes[rows]),
            positions=torch.arange(first, first + len(rows)),
            epoch=epoch,
        )

    def _moved(self, batch: Batch, pieces: list[Future[None]]) -> Batch:
        for piece in pieces:
            piece.result()
        return replace(batch, images=batch.images.to(self._device, non_blocking=True))


def choose_residence(store: ImageStore, device: torch.device, residence: Residence) -> tuple[Residence, str]:
    """Return where the images are read from, and why, as a line to print.

    Raises InputError where the store holds the other thing: files for pixels, or pixels for files.
    """
    if (residence == "encoded") != isinstance(store, EncodedStore) and residence != "auto":
        holds = "pixels" if residence == "encoded" else "files"
        raise InputError(
            f"the store of {store.name} holds {holds}, which residence '{residence}' does not read; "
            f"load it with residence='{residence}', or take 'auto'."
        )
    if isinstance(store, EncodedStore):
        free = shutil.disk_usage(store.file.path).free
        disk = f"{store.file.path.parent.parent} has {_size(free)} free"
        files = f"files take {_size(store.file.nbytes)}, images would take {_size(store.nbytes)}"
        return "encoded", f"encoded: {files}, {disk}"
    free = _free_bytes(device)
    facts = f"images need {_size(store.nbytes)}, {device} has {_size(free)} free"
    if residence != "auto":
        return residence, f"{residence}: as asked; {facts}"
    if store.nbytes <= SHARE * free:
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
