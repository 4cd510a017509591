"""The encoded store: the bytes of a source's image files in one file, decoded whenever an image is asked for."""

import os
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from covary import dist
from covary.data.cores import cores
from covary.data.decode import planes
from covary.data.fit import Fit
from covary.data.store import ImageStore
from covary.errors import InputError


class Packed:
    """A file that many threads read parts of at once.

    Read with ``pread``, which waits for the disk outside of Python's lock, and not through a memory map, which would
    make every thread wait with the one that meets a page that is not in memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def __reduce__(self) -> tuple[type["Packed"], tuple[Path]]:
        """Open the file anew in another process; a number of a descriptor may there be that of another file."""
        return Packed, (self.path,)

    @property
    def nbytes(self) -> int:
        """The length of the file."""
        return os.fstat(self._descriptor).st_size

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from ``start`` to before ``stop``."""
        return os.pread(self._descriptor, stop - start, start)


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedStore(ImageStore):
    """Images as the bytes of their files.

    fit:  the geometry that they are brought to when they are decoded.
    file: the files' bytes, one after another.
    """

    fit: Fit
    file: Packed

    @property
    def nbytes(self) -> int:
        """Bytes of the decoded images, which are nowhere all at once."""
        return int(3 * self.sizes.prod(axis=1).sum())

    @property
    def readers(self) -> int:
        """One thread for each core, which processes on this machine share; Pillow decodes outside of Python's lock."""
        return max(1, cores() // dist.local_world_size())

    def fill(self, rows: np.ndarray, out: Tensor) -> None:
        """Decode images into ``out``, uint8 (b, 3, H, W) on the CPU: each at the top left, zeros in the rest.

        Raises InputError where the store's file is damaged.
        """
        for row, canvas in zip(rows, out.numpy(), strict=True):
            height, width = self.sizes[row]
            canvas[:, height:] = 0
            canvas[:, :height, width:] = 0
            for plane, pixels in zip(canvas, self._planes(row), strict=True):
                plane[:height, :width] = pixels

    def _planes(self, row: int) -> tuple[np.ndarray, ...]:
        try:
            image = self.fit.decode(self.file.read(*self.spans[row]))
        except MemoryError:
            raise
        except Exception as error:  # it could be decoded when the store was built
            raise self._damaged(row, f"{type(error).__name__}: {' '.join(str(error).split())}") from error
        if (image.height, image.width) != tuple(self.sizes[row]):
            raise self._damaged(row, f"{image.height} x {image.width} pixels, expected {self.sizes[row]}")
        return planes(image)

    def _damaged(self, row: int, reason: str) -> InputError:
        return InputError(
            f"the image {self.names[row]} cannot be read back from {self.file.path} ({reason}); "
            "remove that folder, and the store is built anew."
        )
