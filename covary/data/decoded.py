"""The decoded store: every image of a source decoded once, in one memory-mapped file of uint8."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from covary.data.store import ImageStore

READERS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class DecodedStore(ImageStore):
    """Decoded images in memory that the operating system pages in from disk.

    pixels: uint8 (total,), the memory map: images one after another, each (3, height, width).
    """

    pixels: Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of the memory map: what the images need when resident."""
        return self.pixels.numel()

    @cached_property
    def _tiles(self) -> bool:
        """Whether ``pixels``, seen as an array of images of this store's one size, has each of them as a row."""
        length = 3 * int(self.sizes[0].prod())
        return self.uniform and self.nbytes % length == 0 and not (self.spans[:, 0] % length).any()

    @property
    def readers(self) -> int:
        """Two threads: copies from memory are limited by the memory."""
        return READERS

    def fill(self, rows: np.ndarray, out: Tensor) -> None:
        """Write images to ``out``, uint8 (b, 3, H, W) on the CPU: each at the top left, zeros in the rest."""
        self.gather(rows, pixels=self.pixels, out=out)

    def gather(self, rows: np.ndarray, *, pixels: Tensor, out: Tensor) -> None:
        """Write images to ``out``, on the device of ``pixels``, a copy of the memory map."""
        shape = out.shape[1:]
        if self._tiles and shape == (3, *self.sizes[0]):
            index = torch.from_numpy(self.spans[rows, 0] // math.prod(shape)).to(pixels.device)
            torch.index_select(pixels.view(-1, *shape), 0, index, out=out)
            return
        out.zero_()
        for image, (start, stop), (height, width) in zip(out, self.spans[rows], self.sizes[rows], strict=True):
            image[:, :height, :width] = pixels[start:stop].view(3, height, width)
