"""The section of the first batch: the picture of each run's first images and their views, decoded and saved anew."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from covary.errors import InputError
from covary.report.blocks import Picture, Section
from covary.report.read import RunFiles

WIDTH, HEIGHT = 1200, 2400  # pixels that a picture is shrunk to


def first_batch(runs: Sequence[RunFiles]) -> Section:
    """Return the pictures of the runs that have one."""
    return Section(
        title="First batch",
        blocks=tuple(_picture(run.name, run.first_batch) for run in runs if run.first_batch is not None),
    )


def _picture(name: str, file: Path) -> Picture:
    """Return the pixels of a PNG file and nothing else that it holds.

    Raises InputError: the file is no PNG, is damaged, or is larger than Pillow opens without a warning.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG",)) as opened:
                pixels = opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"The picture {file} cannot be read ({error}); remove it.") from error
    pixels.thumbnail((WIDTH, HEIGHT))
    bare, saved = Image.frombytes("RGB", pixels.size, pixels.tobytes()), io.BytesIO()
    bare.save(saved, format="PNG", optimize=True)
    caption = f"{name}: images with the boxes of their crops, and beside them the views that were made of them"
    return Picture(caption=caption, png=saved.getvalue(), width=bare.width, height=bare.height)
