"""Arrays and words to the files of the page. Words are cut and made visible here; the script shows them as text."""

import base64
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from covary.data import ImageStore
from covary.private import visible, without_paths
from covary.rundir import write_atomic
from covary.version import __version__

FILES = ("index.html", "explore.css", "parts.js", "map.js", "explore.js")


@dataclass(frozen=True, kw_only=True)
class Words:
    """How texts are shown. known: strings that may be paths, looked for in other texts."""

    known: Sequence[str]

    def shown(self, text: str) -> str:
        """Return a text without the folders of absolute paths and with all of its characters visible."""
        return visible(without_paths(text, self.known))

    def of_images(self, store: ImageStore, rows: Tensor) -> Mapping[str, Any]:
        """Return names and labels of images; a label is -1 where there is none."""
        labels = np.full(len(store), -1) if store.labels is None else store.labels
        return {
            "names": [self.shown(store.names[row]) for row in rows.tolist()],
            "labels": packed(labels[rows.numpy()].astype(np.int32)),
        }


def packed(array: np.ndarray | Tensor) -> str:
    """Return the numbers of an array in base64, little-endian, row by row."""
    values = np.ascontiguousarray(array)
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def write_page(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the page, its style, its scripts and ``data.js``, which sets what they show.

    A page on the disk may not fetch a file, but may run one. What runs holds the content as one string literal in
    ASCII, of which JSON is parsed; so no text of it can be anything else.
    """
    text = json.dumps({"version": __version__, **content}, allow_nan=False)
    write_atomic(folder / "data.js", f"window.explored = JSON.parse({json.dumps(text)});\n")
    package = importlib.resources.files("covary.explore")
    for name in FILES:
        write_atomic(folder / name, (package / name).read_bytes())
