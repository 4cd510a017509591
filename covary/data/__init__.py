"""Images from anywhere, kept in a store as pixels or as files, and the batches of every epoch."""

import os
from pathlib import Path

import numpy as np

from covary.data.batches import Batches, Residence
from covary.data.build import open_store, shorter_side
from covary.data.find import find
from covary.data.fit import Fit
from covary.data.index import Form
from covary.data.known import LARGEST, SIZES, normalization
from covary.data.source import Source, Split, held_out
from covary.data.store import ImageStore
from covary.errors import InputError

__all__ = [
    "Batches",
    "Fit",
    "ImageStore",
    "Residence",
    "Split",
    "cache_root",
    "data_root",
    "features_folder",
    "load",
    "native_size",
    "normalization",
]

HOME = Path("~/.cache/covary")
FORMS: dict[Residence, Form | None] = {
    "auto": None,
    "resident": "decoded",
    "streamed": "decoded",
    "encoded": "encoded",
}
MAX_BAD = 0.05  # the share of images that may fail to decode


def load(
    spec: str,
    *,
    split: Split,
    fit: Fit,
    labelled: bool = False,
    root: Path | None = None,
    cache: Path | None = None,
    max_bad: float = MAX_BAD,
    residence: Residence = "auto",
) -> ImageStore:
    """Return the images of a SPEC (``docs/data.md``) in a geometry, from the store; build the store where needed.

    split:    "train" or "test".
    labelled: False: all images that pretraining may see. True: those with a label, less those held out for testing.
    root:     where known data sets lie or are downloaded to; default $COVARY_DATA, else ~/.cache/covary/data.
    cache:    where stores lie, in ``stores/``; default $COVARY_CACHE, else ~/.cache/covary.
    max_bad:  the greatest share of images that may fail to decode; they are left out and listed in ``skipped``.
    residence: what ``Batches`` is to read: "resident" and "streamed" a store of pixels, "encoded" one of files; "auto"
              the one that exists, pixels first, else pixels unless these would not fit the free disk.

    Raises InputError where the SPEC cannot be read, has no image, with ``labelled`` no label, or "encoded" is asked for
    and the images are no files.
    """
    source = find(spec, split=split, size=fit.size, labelled=labelled, root=data_root(root))
    store = open_store(
        source, split=split, fit=fit, stores=cache_root(cache) / "stores", max_bad=max_bad, form=FORMS[residence]
    )
    return _chosen(store, source, labelled=labelled)


def features_folder(cache: Path | None) -> Path:
    """Return where features of images are kept: ``features/`` beside the stores (``load``)."""
    return cache_root(cache) / "features"


def native_size(spec: str, *, root: Path | None = None) -> int:
    """Return the side, in pixels, of the views that suit a SPEC's images.

    That of a known set; else the median shorter side of the first 64 training images, at most 224.
    """
    known = SIZES.get(spec.partition(":")[0])
    return known or shorter_side(find(spec, split="train", root=data_root(root)), at_most=LARGEST)


def cache_root(cache: Path | None) -> Path:
    """Return where stores and other things computed once lie: ``cache``, else $COVARY_CACHE, else ~/.cache/covary."""
    return (cache or Path(os.environ.get("COVARY_CACHE") or HOME)).expanduser()


def data_root(root: Path | None) -> Path:
    """Return where known data sets lie or are downloaded to: ``root``, else $COVARY_DATA, else ~/.cache/covary/data."""
    return (root or Path(os.environ.get("COVARY_DATA") or HOME / "data")).expanduser()


def _chosen(store: ImageStore, source: Source, *, labelled: bool) -> ImageStore:
    """Return the images of a store that belong to what was asked for."""
    if labelled and store.labels is None:
        raise InputError(
            f"{store.name} has no labels, which an evaluation needs; "
            "put the images of each class in a folder of its own."
        )
    keep = np.ones(len(store), dtype=bool)
    if labelled and store.labels is not None:
        keep &= store.labels >= 0
    if source.held_out == "always" or (source.held_out == "labelled" and (labelled or store.split == "test")):
        keep &= held_out(store.names, store.labels) == (store.split == "test")
    if keep.all():
        return store
    if not keep.any():
        raise InputError(
            f"{store.name} has no {'labelled ' * labelled}image in its {store.split} split "
            f"({len(store)} images in all)."
        )
    return store.select(np.flatnonzero(keep))
