"""From the records of a source to what a store keeps of each: decoded in threads, in the order of the source."""

import hashlib
import stat
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from covary.data.cores import cores
from covary.data.decode import CONVERTED, MAX_PIXELS, planes, to_rgb
from covary.data.fit import Fit
from covary.data.index import Entry, Form
from covary.data.source import Content, Record

CHUNK = 32  # records a thread decodes in one go
MAX_BYTES = 3 * MAX_PIXELS  # of a file: what the largest image takes without compression


@dataclass(frozen=True, slots=True)
class Stored:
    """An image that could be decoded: what the index holds of it, and its bytes in the store."""

    entry: Entry
    payload: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Broken:
    """An image that could not be decoded, and why."""

    name: str
    reason: str


def stored(content: Content, fit: Fit, form: Form) -> Iterator[Stored | Broken]:
    """Yield every record decoded, in order; a bounded number of chunks is in the hands of a thread for each core."""
    workers = cores()
    records = iter(content.records)
    waiting: deque[Future[list[Stored | Broken]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while chunk := list(islice(records, CHUNK)):
                waiting.append(pool.submit(_chunk, chunk, fit, form))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(records: list[Record], fit: Fit, form: Form) -> list[Stored | Broken]:
    return [stored_one(record, fit, form) for record in records]


def stored_one(record: Record, fit: Fit, form: Form) -> Stored | Broken:
    """Decode a record. Its bytes are the pixels, (3, height, width), or, encoded, those of its file."""
    try:
        source, label = record.read()
        image = _content(source) if isinstance(source, Path) else source
        pixels, converted = _pixels(image, fit)
    except MemoryError:
        raise
    except Exception as error:  # whatever a broken file makes Pillow raise: the image is skipped with this reason
        return Broken(record.name, f"{type(error).__name__}: {' '.join(str(error).split())}")
    payload = image if form == "encoded" and isinstance(image, bytes) else pixels.data
    entry = Entry(
        name=record.name,
        label=label,
        size=pixels.shape[1:],
        digest=hashlib.blake2b(pixels.data, digest_size=16).digest(),
        length=len(payload) if isinstance(payload, bytes) else payload.nbytes,
        converted=converted,
    )
    return Stored(entry, payload)


def _content(file: Path) -> bytes:
    """Return the bytes of a file; of a pipe or a device, which may have no end, nothing is ever read."""
    found = file.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("neither a file nor a link to one")
    if found.st_size > MAX_BYTES:
        raise ValueError(f"{found.st_size:,} bytes are more than the limit of {MAX_BYTES:,}")
    return file.read_bytes()


def _pixels(source: np.ndarray | Image.Image | bytes, fit: Fit) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return uint8 (3, h, w), contiguous, and what was done to make it RGB (``decode.to_rgb``)."""
    match source:
        case bytes():
            image = fit.decode(source)
        case np.ndarray() if fit.keeps(source.shape[1], source.shape[0]):
            return np.ascontiguousarray(source.transpose(2, 0, 1)), ()
        case np.ndarray():
            image = fit.apply(Image.fromarray(source))
        case _:
            image = fit.apply(to_rgb(source))
    return np.stack(planes(image)), image.info.get(CONVERTED, ())
