"""B4: small files that ask for much memory or time, and files of other formats under an image's name."""

import io
import resource
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from PIL import Image

from covary.data import Fit
from covary.data.source import Record
from covary.data.stored import Broken, stored_one
from reliability.children import forked
from reliability.image_bombs import BOMBS
from reliability.row import Count, Figure, Row, replaced

MEMORY = 512_000_000  # bytes that a child may hold, torch and all
MOST = 4_000_000_000  # bytes that the system gives it: the rest of the machine is kept from harm
SECONDS = 2.0


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Read each file in a child of its own."""
    count, peak, slowest = Count(), 0, 0.0
    for bomb in BOMBS[:trials]:
        file = folder / bomb.name
        bomb.write(file)
        end = forked(lambda file=file: read(file), limit=30)
        reason, seconds = end.value or ("", end.seconds)
        peak, slowest = max(peak, end.peak), max(slowest, seconds)
        refused = bool(reason) and any(words in reason for words in bomb.says)
        count.add(
            bomb.name,
            held=refused and end.peak < MEMORY and seconds <= SECONDS,
            fired=bomb.armed(file),
            seen=f"{reason} {seconds:.1f} s, {end.peak // 10**6} MB, child {end.code} {end.said[-200:]}",
        )
        file.unlink()
    return count.figure(peak_MB=peak // 10**6, slowest_s=round(slowest, 2))


def read(file: Path) -> tuple[str, float]:
    """Read a file as a store does; return why it is refused, empty where it is not, and the seconds it took."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST, MOST))
    began = time.monotonic()
    found = stored_one(Record(file.name, lambda: (file, -1)), Fit.train(32), "decoded")
    return found.reason if isinstance(found, Broken) else "", time.monotonic() - began


def without_limit(data: bytes, *, reduction: Callable[[int, int], int]) -> Image.Image:
    """Decode as those do who switch Pillow's limit off because it warned."""
    with patch("PIL.Image.MAX_IMAGE_PIXELS", None), Image.open(io.BytesIO(data)) as image:
        return image.convert("RGB")


ROW = Row(
    id="B4",
    promise="A file of more than 89 million pixels, or a document named .png, is left out in 2 s and below 512 MB",
    trials={"ci": len(BOMBS), "release": len(BOMBS)},
    check=check,
    mutants={
        "no limit of pixels": replaced("covary.data.fit.decode", without_limit),
        "every format of Pillow's": replaced("covary.data.decode.FORMATS", None),
        "no limit of bytes": replaced("covary.data.stored.MAX_BYTES", 2**60),
    },
    mutant_trials=3,
)
