"""Whether the images of a source are stored decoded or encoded."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from covary.data.fit import Fit
from covary.data.index import Form
from covary.data.source import Record
from covary.data.stored import Stored, stored_one

SHARE = 0.9  # of the free disk that decoded images may be expected to take


def choose_form(first: Sequence[Record], fit: Fit, *, count: int, disk: Path) -> Form:
    """Return the form that fits the free disk, from the first records of a source of files and the number of all.

    "encoded" where the mean bytes of the first images' pixels times ``count`` are more than ``SHARE`` of what is free.
    """
    found = (stored_one(record, fit, "decoded") for record in first)
    lengths = [image.entry.length for image in found if isinstance(image, Stored)]
    needed = count * sum(lengths) / max(1, len(lengths))
    return "encoded" if needed > SHARE * shutil.disk_usage(disk).free else "decoded"
