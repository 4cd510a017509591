"""The uint8 store: every image of a source decoded once, in one memory-mapped file."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from covary.data.source import Content, Split

FORMAT = 1  # raise it when the files of a store change; older stores are then built anew
META = {"format", "classes", "names", "skipped", "ignored"}  # what meta.json holds

Rows = np.ndarray | Tensor | Sequence[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStore:
    """Images of one source and split, decoded, in memory that the operating system pages in from disk.

    name:    the SPEC it was loaded from.
    split:   "train" or "test".
    classes: class names indexed by label, None where the source has no labels.
    labels:  int64 (n,), −1 for an unlabelled image; None where the source has no labels.
    names:   n names, unique within the source (a relative path where the image is a file).
    sizes:   int64 (n, 2), height and width of each image.
    skipped: (name, reason) of each image that could not be decoded.
    ignored: files met in the source that are not images.
    digests: uint8 (n, 16), BLAKE2b of each image's pixels.
    offsets: int64 (n,), place of each image in ``pixels``.
    pixels:  uint8 (total,), the memory map: images one after another, each (3, height, width).
    """

    name: str
    split: Split
    classes: tuple[str, ...] | None
    labels: np.ndarray | None
    names: tuple[str, ...]
    sizes: np.ndarray
    skipped: tuple[tuple[str, str], ...]
    ignored: int
    digests: np.ndarray
    offsets: np.ndarray
    pixels: Tensor

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def uniform(self) -> bool:
        """Whether all images have one size."""
        return bool((self.sizes == self.sizes[0]).all())

    @cached_property
    def _tiles(self) -> bool:
        """Whether ``pixels``, seen as an array of images of this store's one size, has each of them as a row."""
        length = 3 * int(self.sizes[0].prod())
        return self.uniform and self.nbytes % length == 0 and not (self.offsets % length).any()

    @property
    def nbytes(self) -> int:
        """Bytes of the memory map: what the images need when resident."""
        return self.pixels.numel()

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
        return self.gather(rows, pixels=self.pixels, canvas=self.canvas(rows)), torch.from_numpy(self.sizes[rows])

    def gather(self, rows: np.ndarray, *, pixels: Tensor, canvas: tuple[int, int], out: Tensor | None = None) -> Tensor:
        """Return images on the device of ``pixels`` (a copy of the memory map), padded to ``canvas``.

        out: uint8 (b, 3, *canvas) to write to; made where None.
        """
        if self._tiles:
            shape = (3, *canvas)
            index = torch.from_numpy(self.offsets[rows] // math.prod(shape)).to(pixels.device)
            return torch.index_select(pixels.view(-1, *shape), 0, index, out=out)
        out = torch.empty((len(rows), 3, *canvas), dtype=torch.uint8, device=pixels.device) if out is None else out
        out.zero_()
        for image, offset, (height, width) in zip(out, self.offsets[rows], self.sizes[rows], strict=True):
            image[:, :height, :width] = pixels[offset : offset + 3 * height * width].view(3, height, width)
        return out

    def select(self, rows: Rows) -> "ImageStore":
        """Return a store of some of the images, in the order given; no pixels are copied."""
        rows = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            labels=None if self.labels is None else self.labels[rows],
            names=tuple(self.names[row] for row in rows),
            sizes=self.sizes[rows],
            digests=self.digests[rows],
            offsets=self.offsets[rows],
        )


def _digest(*arrays: np.ndarray | None) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_index(
    folder: Path,
    *,
    content: Content,
    names: list[str],
    labels: list[int],
    sizes: np.ndarray,
    digests: np.ndarray,
    skipped: list[tuple[str, str]],
) -> None:
    """Write everything but the pixels of a store; ``meta.json`` last, so that a folder without it is no store."""
    for name, array in (("labels", np.array(labels, dtype=np.int64)), ("sizes", sizes), ("digests", digests)):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    meta = {
        "format": FORMAT,
        "classes": content.classes,
        "names": names,
        "skipped": skipped,
        "ignored": content.ignored,
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def read_store(folder: Path, *, name: str, split: Split) -> ImageStore | None:
    """Open the store in a folder; None where there is none, or where it is not whole."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        labels, sizes, digests = (
            np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("labels", "sizes", "digests")
        )
        pixels = np.memmap(folder / "pixels.bin", dtype=np.uint8, mode="c")
    except (OSError, ValueError):
        return None
    lengths = 3 * sizes.prod(axis=1)
    if (
        not isinstance(meta, dict)
        or not meta.keys() >= META
        or meta["format"] != FORMAT
        or len(pixels) != lengths.sum()
    ):
        return None
    classes = None if meta["classes"] is None else tuple(meta["classes"])
    return ImageStore(
        name=name,
        split=split,
        classes=classes,
        labels=None if classes is None else labels,
        names=tuple(meta["names"]),
        sizes=sizes,
        skipped=tuple((skipped, reason) for skipped, reason in meta["skipped"]),
        ignored=meta["ignored"],
        digests=digests,
        offsets=np.cumsum(lengths) - lengths,
        pixels=torch.from_numpy(pixels),
    )
