"""What a store is: every image of a source in one file, as decoded pixels or as the bytes of the image files."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from covary.data.source import Split
from covary.rundir import SKIPPED

PIECE = 4_000_000  # bytes of decoded images that a thread reads in one go

Rows = np.ndarray | Tensor | Sequence[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStore(ABC):
    """Images of one source and split, on disk: ``DecodedStore`` or ``EncodedStore``, which give the same bits.

    name:    the SPEC it was loaded from.
    split:   "train" or "test".
    classes: class names indexed by label, None where the source has no labels.
    labels:  int64 (n,), −1 for an unlabelled image; None where the source has no labels.
    names:   n names, unique within the source (a relative path where the image is a file).
    sizes:   int64 (n, 2), height and width of each decoded image.
    skipped: (name, reason) of each image that could not be decoded.
    converted: how many images were made RGB by each rule of ``decode.to_rgb``, in the whole store.
    ignored: files met in the source that are not images.
    digests: uint8 (n, 16), BLAKE2b of each image's decoded pixels, (3, height, width).
    spans:   int64 (n, 2), first byte of each image in the store's file, and the first that follows.
    """

    name: str
    split: Split
    classes: tuple[str, ...] | None
    labels: np.ndarray | None
    names: tuple[str, ...]
    sizes: np.ndarray
    skipped: tuple[tuple[str, str], ...]
    converted: Mapping[str, int]
    ignored: int
    digests: np.ndarray
    spans: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def uniform(self) -> bool:
        """Whether all images have one size."""
        return bool((self.sizes == self.sizes[0]).all())

    @property
    def account(self) -> tuple[str, ...]:
        """Lines that say which files were left out, and which were not plain RGB."""
        lines = []
        if self.skipped:
            name, reason = self.skipped[0]
            lines.append(
                f"{len(self.skipped):,} images cannot be read and are left out, such as {name!r} ({reason}); "
                f"{SKIPPED} lists them all"
            )
        if self.converted:
            lines.append(f"made RGB: {', '.join(f'{count:,} {what}' for what, count in self.converted.items())}")
        return tuple(lines)

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of the decoded images: what they need when resident."""

    @cached_property
    def fingerprint(self) -> str:
        """BLAKE2b of decoded pixels, sizes and labels in order: moving or renaming the source does not change it."""
        return _digest(self.digests, self.sizes, self.labels)

    @cached_property
    def pixels_fingerprint(self) -> str:
        """BLAKE2b of decoded pixels and sizes in order, whatever their labels."""
        return _digest(self.digests, self.sizes)

    def canvas(self, rows: Rows) -> tuple[int, int]:
        """Return the smallest (height, width) that holds each of the images."""
        height, width = self.sizes[np.asarray(rows)].max(axis=0)
        return int(height), int(width)

    def images(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return images and their sizes: uint8 (b, 3, H, W), zeros below and right of smaller images; int64 (b, 2)."""
        rows = np.asarray(rows, dtype=np.int64)
        images = torch.empty((len(rows), 3, *self.canvas(rows)), dtype=torch.uint8)
        with ThreadPoolExecutor(self.readers) as pool:
            for piece in self.read(rows, images, pool):
                piece.result()
        return images, torch.from_numpy(self.sizes[rows])

    def read(self, rows: np.ndarray, out: Tensor, pool: Executor) -> list[Future[None]]:
        """Let the threads of a pool ``fill`` a batch, piece by piece; it is whole when every piece is done."""
        length = max(1, PIECE // max(1, out[:1].nbytes))
        pieces = [slice(start, start + length) for start in range(0, len(rows), length)]
        return [pool.submit(self.fill, rows[piece], out[piece]) for piece in pieces]

    @property
    @abstractmethod
    def readers(self) -> int:
        """Threads that read the store fastest."""

    @abstractmethod
    def fill(self, rows: np.ndarray, out: Tensor) -> None:
        """Write images to ``out``, uint8 (b, 3, H, W) on the CPU: each at the top left, zeros in the rest."""

    def select(self, rows: Rows) -> Self:
        """Return a store of some of the images, in the order given; no pixels are copied."""
        rows = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            labels=None if self.labels is None else self.labels[rows],
            names=tuple(self.names[row] for row in rows),
            sizes=self.sizes[rows],
            digests=self.digests[rows],
            spans=self.spans[rows],
        )


def _digest(*arrays: np.ndarray | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
