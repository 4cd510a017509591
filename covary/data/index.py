"""The index of a store on disk: what is known of its images, beside the file that holds them."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from covary.data import decode
from covary.data.decoded import DecodedStore
from covary.data.encoded import EncodedStore, Packed
from covary.data.fit import Fit
from covary.data.source import Content, Split
from covary.data.store import ImageStore

Form = Literal["decoded", "encoded"]

FORMAT = 3  # raise it when the files of a store change; older stores are then built anew
META = {"format", "decoder", "classes", "names", "skipped", "converted", "ignored"}  # what meta.json holds
IMAGES: dict[Form, str] = {"decoded": "pixels.bin", "encoded": "files.bin"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the index holds of one image.

    Name, label, height and width, digest of its pixels, bytes in the file, what was done to make it RGB.
    """

    name: str
    label: int
    size: tuple[int, int]
    digest: bytes
    length: int
    converted: tuple[str, ...]


def write_index(folder: Path, *, content: Content, entries: list[Entry], skipped: list[tuple[str, str]]) -> None:
    """Write everything but the images of a store; ``meta.json`` last, so that a folder without it is no store."""
    ends = np.cumsum([entry.length for entry in entries], dtype=np.int64)
    arrays = {
        "labels": np.array([entry.label for entry in entries], dtype=np.int64),
        "sizes": np.array([entry.size for entry in entries], dtype=np.int64),
        "digests": np.frombuffer(b"".join(entry.digest for entry in entries), dtype=np.uint8).reshape(len(entries), -1),
        "spans": np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    meta = {
        "format": FORMAT,
        "decoder": decode.decoder(),
        "classes": content.classes,
        "names": [entry.name for entry in entries],
        "skipped": skipped,
        "converted": Counter(what for entry in entries for what in entry.converted),
        "ignored": content.ignored,
    }
    (folder / "meta.json").write_text(json.dumps(meta))


def read_store(folder: Path, form: Form, *, name: str, split: Split, fit: Fit) -> ImageStore | None:
    """Open the store in a folder; None where there is none, where it is not whole, or not what would be built now."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        labels, sizes, digests, spans = (
            np.load(folder / f"{array}.npy", allow_pickle=False) for array in ("labels", "sizes", "digests", "spans")
        )
        images = folder / IMAGES[form]
        length = images.stat().st_size
    except (OSError, ValueError):
        return None
    if not isinstance(meta, dict) or not meta.keys() >= META or meta["format"] != FORMAT or length != spans[-1, 1]:
        return None
    classes = None if meta["classes"] is None else tuple(meta["classes"])
    index = {
        "name": name,
        "split": split,
        "classes": classes,
        "labels": None if classes is None else labels,
        "names": tuple(meta["names"]),
        "sizes": sizes,
        "skipped": tuple((skipped, reason) for skipped, reason in meta["skipped"]),
        "converted": meta["converted"],
        "ignored": meta["ignored"],
        "digests": digests,
        "spans": spans,
    }
    if form == "decoded":
        pixels = np.memmap(images, dtype=np.uint8, mode="c")
        return DecodedStore(**index, pixels=torch.from_numpy(pixels))
    if meta["decoder"] != decode.decoder():  # which may give other bits than the digests are of
        return None
    return EncodedStore(**index, fit=fit, file=Packed(images))
