"""The index of a store on disk: what is known of its images, beside the file that holds them."""

import hashlib
import io
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
FILES = ("meta.json", "labels.npy", "sizes.npy", "digests.npy", "spans.npy")
DIGEST = "index.blake2b"  # of those files, one after another
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
    """Write everything but the images of a store; the digest last, so that a folder without it is no store."""
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
    (folder / DIGEST).write_text(_digest([(folder / file).read_bytes() for file in FILES]))


def read_store(folder: Path, form: Form, *, name: str, split: Split, fit: Fit) -> ImageStore | None:
    """Open the store in a folder; None where there is none, where it is not whole, or not what would be built now."""
    images = folder / IMAGES[form]
    try:
        index = _read_index(folder, form, length=images.stat().st_size)
    except Exception:  # damaged bytes break the parsers in ways that they do not name; the store is built anew
        return None
    decoder = index.pop("decoder")
    known = {**index, "name": name, "split": split}
    if form == "decoded":
        pixels = np.memmap(images, dtype=np.uint8, mode="c")
        return DecodedStore(**known, pixels=torch.from_numpy(pixels))
    if decoder != decode.decoder():  # which may give other bits than the digests are of
        return None
    return EncodedStore(**known, fit=fit, file=Packed(images))


def _read_index(folder: Path, form: Form, *, length: int) -> dict[str, Any]:
    """Return the fields of a store; raise where the index differs from its digest or contradicts itself."""
    contents = [(folder / file).read_bytes() for file in FILES]
    if (folder / DIGEST).read_text() != _digest(contents):
        raise ValueError(f"the index differs from {DIGEST}")
    meta = json.loads(contents[0].decode())
    labels, sizes, digests, spans = (
        np.lib.format.read_array(io.BytesIO(content), allow_pickle=False) for content in contents[1:]
    )
    count = len(meta["names"])
    expected = [(np.int64, (count,)), (np.int64, (count, 2)), (np.uint8, (count, 16)), (np.int64, (count, 2))]
    if [(array.dtype, array.shape) for array in (labels, sizes, digests, spans)] != expected or not count:
        raise ValueError("the index holds arrays of other shapes")
    ends = np.concatenate([[0], spans[:, 1]])
    if meta["format"] != FORMAT or (ends[:-1] != spans[:, 0]).any() or (np.diff(ends) < 1).any() or ends[-1] != length:
        raise ValueError("the index is of another format, or of other images")
    classes = None if meta["classes"] is None else tuple(meta["classes"])
    if labels.min() < -1 or labels.max() >= len(classes or ()):
        raise ValueError("the index holds labels that no class has")
    sound = (sizes > 0).all() and (sizes <= decode.MAX_PIXELS).all() and (sizes.prod(axis=1) <= decode.MAX_PIXELS).all()
    if not sound or (form == "decoded" and (np.diff(ends) != 3 * sizes.prod(axis=1)).any()):
        raise ValueError("the index holds sizes that no image has")
    return {
        "decoder": meta["decoder"],
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


def _digest(contents: list[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for content in contents:
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()
