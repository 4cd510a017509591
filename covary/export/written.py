"""What an export leaves."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An export.

    path:       file or folder.
    bytes:      of all its files.
    difference: largest difference of features of random images from those of the run's encoder.
    lines:      Python, without covary, that loads it.
    """

    path: Path
    bytes: int
    difference: float
    lines: tuple[str, ...]
