"""Building a store: decode in threads, write to a temporary folder, rename; safe for several processes at once."""

import errno
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np

from covary.data.decode import RULES
from covary.data.fit import Fit
from covary.data.form import choose_form
from covary.data.index import FORMAT, IMAGES, Entry, Form, read_store, write_index
from covary.data.lock import held, locked
from covary.data.progress import progress
from covary.data.source import Content, Source, Split
from covary.data.store import ImageStore
from covary.data.stored import Broken, Stored, stored, stored_one
from covary.errors import InputError
from covary.rundir import sync_folder

PEEK = 64  # images looked at to learn their size
SHOWN = 3  # broken files named in an error


def open_store(
    source: Source, *, split: Split, fit: Fit, stores: Path, max_bad: float, form: Form | None = None
) -> ImageStore:
    """Return the store of a source in a geometry; build it where it does not exist yet.

    stores:  the folder that all stores lie in, each under a digest of its source, geometry and decoding rules.
    max_bad: the greatest share of images that may fail to decode. Raises InputError beyond it.
    form:    None: the one that exists, decoded before encoded; else decoded, but encoded where the source is of files
             and decoded images would not fit the disk. Raises InputError for "encoded" where it is not of files.
    """
    if form == "encoded" and not source.files:
        raise InputError(
            f"residence 'encoded' keeps the bytes of image files, and {source.name} is not read from such; "
            "take 'auto', 'resident' or 'streamed'."
        )
    forms = tuple(IMAGES) if form is None else (form,)
    key = hashlib.blake2b(repr((source.identity, fit, RULES, FORMAT)).encode(), digest_size=16).hexdigest()
    folders: dict[Form, Path] = {"decoded": stores / key, "encoded": stores / f"{key}.encoded"}

    def found() -> ImageStore | None:
        opened = (read_store(folders[one], one, name=source.name, split=split, fit=fit) for one in forms)
        return next((store for store in opened if store), None)

    store = found()
    if store is None:
        with _writing(stores, source.name):
            stores.mkdir(parents=True, exist_ok=True)
            with locked(stores / f"{key}.lock"):
                store = found()
                if store is None:
                    _build(source, fit, folders, form, max_bad)
                    store = found()
    if store is None:
        raise InputError(
            f"the image store of {source.name} in {stores} cannot be read back; choose another cache folder."
        )
    _refuse_bad(source.name, store.skipped, len(store) + len(store.skipped), max_bad)
    return store


def shorter_side(source: Source, *, at_most: int) -> int:
    """Return the median shorter side of the first images of a source that decode."""
    images = (stored_one(record, Fit.train(at_most), "decoded") for record in islice(source.content().records, PEEK))
    sides = [min(image.entry.size) for image in images if isinstance(image, Stored)]
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
                f"no space left for the images of {name} in {stores} ({free:.1f} GB free); free some, point "
                "COVARY_CACHE to a larger disk, or take --residence encoded where files are smaller than pixels."
            ) from error
        raise InputError(
            f"the images of {name} cannot be written to {stores} ({error.strerror or error}); "
            "point COVARY_CACHE to a folder that you may write to."
        ) from error


def _build(source: Source, fit: Fit, folders: Mapping[Form, Path], form: Form | None, max_bad: float) -> None:
    """Build a store beside its place and move it there in one step; the caller holds its lock."""
    stores = folders["decoded"].parent
    _sweep(stores)
    content = source.content()
    if form is None and source.files:
        records = iter(content.records)
        first = list(islice(records, PEEK))
        content = replace(content, records=chain(first, records))
        form = choose_form(first, fit, count=content.count, disk=stores)
    form = form or "decoded"
    folder = folders[form]
    temporary = folder.with_suffix(".building")
    for stale in (temporary, folder):  # a dead builder's, or a store that is not whole
        shutil.rmtree(stale, ignore_errors=True)
    temporary.mkdir()
    try:
        _write(source.name, content, fit, form, temporary, max_bad)
        for path in (*temporary.iterdir(), temporary):
            sync_folder(path)
        temporary.rename(folder)
        sync_folder(stores)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sweep(stores: Path) -> None:
    """Remove what builders left that died: temporary folders whose lock nobody holds."""
    for temporary in stores.glob("*.building"):
        if not held(temporary.with_suffix(".lock")):
            shutil.rmtree(temporary, ignore_errors=True)


def _write(name: str, content: Content, fit: Fit, form: Form, folder: Path, max_bad: float) -> None:
    entries: list[Entry] = []
    skipped: list[tuple[str, str]] = []
    with (folder / IMAGES[form]).open("wb") as file, progress(f"decoding {name}", content.count) as advance:
        for image in stored(content, fit, form):
            advance()
            if isinstance(image, Broken):
                skipped.append((image.name, image.reason))
                _refuse_bad(name, skipped, content.count, max_bad)
                continue
            file.write(image.payload)
            entries.append(image.entry)
    if not entries:
        raise InputError(f"{name} holds no image that can be read (files seen: {content.count + content.ignored}).")
    write_index(folder, content=content, entries=entries, skipped=skipped)


def _refuse_bad(name: str, skipped: Sequence[tuple[str, str]], count: int, max_bad: float) -> None:
    if len(skipped) <= max_bad * count:
        return
    shown = "; ".join(f"{bad!r}: {reason}" for bad, reason in skipped[:SHOWN])
    raise InputError(
        f"{name}: {len(skipped)} of {count} images cannot be read, more than the {max_bad:.0%} allowed ({shown}); "
        "repair or remove them, or raise max_bad."
    )
