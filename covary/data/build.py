"""Building a store: decode in threads, write to a temporary folder, rename; safe for several processes at once."""

import errno
import hashlib
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from covary.data import decode
from covary.data.fit import Fit
from covary.data.lock import held, locked
from covary.data.progress import progress
from covary.data.source import Content, Pixels, Record, Source, Split
from covary.data.store import FORMAT, ImageStore, read_store, write_index
from covary.errors import InputError
from covary.rundir import sync_folder

CHUNK = 32  # records a thread decodes in one go
PEEK = 64  # images looked at to learn their size
SHOWN = 3  # broken files named in an error


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image as it is stored: name, label, uint8 (3, h, w) and their digest."""

    name: str
    label: int
    pixels: np.ndarray
    digest: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """An image that could not be decoded, and why."""

    name: str
    reason: str


def open_store(source: Source, *, split: Split, fit: Fit, stores: Path, max_bad: float) -> ImageStore:
    """Return the store of a source in a geometry; build it where it does not exist yet.

    stores:  the folder that all stores lie in, each under a digest of its source, geometry and decoding rules.
    max_bad: the greatest share of images that may fail to decode. Raises InputError beyond it.
    """
    key = hashlib.blake2b(repr((source.identity, fit, decode.RULES, FORMAT)).encode(), digest_size=16).hexdigest()
    folder = stores / key
    store = read_store(folder, name=source.name, split=split)
    if store is None:
        with _writing(stores, source.name):
            stores.mkdir(parents=True, exist_ok=True)
            with locked(stores / f"{key}.lock"):
                store = read_store(folder, name=source.name, split=split)
                if store is None:
                    _build(source, fit, folder, max_bad)
                    store = read_store(folder, name=source.name, split=split)
    if store is None:
        raise InputError(f"the image store {folder} cannot be read back; remove it or choose another cache folder.")
    _refuse_bad(source.name, store.skipped, len(store) + len(store.skipped), max_bad)
    return store


def shorter_side(source: Source, *, at_most: int) -> int:
    """Return the median shorter side of the first images of a source that decode."""
    images = (_decode_one(record, Fit.train(at_most)) for record in islice(source.content().records, PEEK))
    sides = [min(image.pixels.shape[1:]) for image in images if isinstance(image, Decoded)]
    if not sides:
        raise InputError(f"none of the first {PEEK} images of {source.name} can be read; repair or remove them.")
    return min(at_most, int(np.median(sides)))


@contextmanager
def _writing(stores: Path, name: str) -> Iterator[None]:
    """Turn what a disk can answer into the one line that helps."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(stores).free / 1e9
            raise InputError(
                f"no space left for the decoded images of {name} in {stores} ({free:.1f} GB free); "
                "free some, or point COVARY_CACHE to a larger disk."
            ) from error
        raise InputError(
            f"the decoded images of {name} cannot be written to {stores} ({error.strerror or error}); "
            "point COVARY_CACHE to a folder that you may write to."
        ) from error


def _build(source: Source, fit: Fit, folder: Path, max_bad: float) -> None:
    """Build a store beside its place and move it there in one step; the caller holds its lock."""
    _sweep(folder.parent)
    temporary = folder.with_suffix(".building")
    for stale in (temporary, folder):  # a dead builder's, or a store that is not whole
        shutil.rmtree(stale, ignore_errors=True)
    temporary.mkdir()
    try:
        _write(source.name, source.content(), fit, temporary, max_bad)
        for path in (*temporary.iterdir(), temporary):
            sync_folder(path)
        temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(stores: Path) -> None:
    """Remove what builders left that died: temporary folders whose lock nobody holds."""
    for temporary in stores.glob("*.building"):
        if not held(temporary.with_suffix(".lock")):
            shutil.rmtree(temporary, ignore_errors=True)


def _write(name: str, content: Content, fit: Fit, folder: Path, max_bad: float) -> None:
    names: list[str] = []
    labels: list[int] = []
    sizes: list[tuple[int, int]] = []
    digests: list[bytes] = []
    skipped: list[tuple[str, str]] = []
    with (folder / "pixels.bin").open("wb") as file, progress(f"decoding {name}", content.count) as advance:
        for image in _decoded(content, fit):
            advance()
            if isinstance(image, Broken):
                skipped.append((image.name, image.reason))
                _refuse_bad(name, skipped, content.count, max_bad)
                continue
            file.write(image.pixels.data)
            names.append(image.name)
            labels.append(image.label)
            sizes.append(image.pixels.shape[1:])
            digests.append(image.digest)
    if not names:
        raise InputError(f"{name} holds no image that can be read (files seen: {content.count + content.ignored}).")
    write_index(
        folder,
        content=content,
        names=names,
        labels=labels,
        sizes=np.array(sizes, dtype=np.int64),
        digests=np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(len(names), -1),
        skipped=skipped,
    )


def _refuse_bad(name: str, skipped: Sequence[tuple[str, str]], count: int, max_bad: float) -> None:
    if len(skipped) <= max_bad * count:
        return
    shown = "; ".join(f"{bad!r}: {reason}" for bad, reason in skipped[:SHOWN])
    raise InputError(
        f"{name}: {len(skipped)} of {count} images cannot be read, more than the {max_bad:.0%} allowed ({shown}); "
        "repair or remove them, or raise max_bad."
    )


def _decoded(content: Content, fit: Fit) -> Iterator[Decoded | Broken]:
    """Yield every record decoded, in order; a bounded number of chunks is in the hands of a thread for each core."""
    workers = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    records = iter(content.records)
    waiting: deque[Future[list[Decoded | Broken]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while chunk := list(islice(records, CHUNK)):
                waiting.append(pool.submit(_decode_chunk, chunk, fit))
                if len(waiting) > 2 * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_chunk(records: list[Record], fit: Fit) -> list[Decoded | Broken]:
    return [_decode_one(record, fit) for record in records]


def _decode_one(record: Record, fit: Fit) -> Decoded | Broken:
    try:
        source, label = record.read()
        pixels = np.ascontiguousarray(_pixels(source, fit).transpose(2, 0, 1))
    except MemoryError:
        raise
    except Exception as error:  # whatever a broken file makes Pillow raise: the image is skipped with this reason
        return Broken(record.name, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Decoded(record.name, label, pixels, hashlib.blake2b(pixels.data, digest_size=16).digest())


def _pixels(source: Pixels, fit: Fit) -> np.ndarray:
    """Return uint8 (h, w, 3)."""
    if isinstance(source, np.ndarray):
        height, width, _ = source.shape
        return source if fit.keeps(width, height) else np.asarray(fit.apply(Image.fromarray(source)))
    if isinstance(source, Image.Image):
        return np.asarray(fit.apply(decode.to_rgb(source)))
    data = source.read_bytes() if isinstance(source, Path) else source
    return np.asarray(fit.apply(decode.decode(data)))
