"""``embed``: the features of all images of a SPEC as a table, in pieces that survive a kill."""

import importlib.util
import json
import os
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import safetensors.torch
import torch
from torch import nn

from covary import dist
from covary.data import Fit, ImageStore, Split, load
from covary.data.progress import progress
from covary.disk import read_file, writing
from covary.errors import InputError
from covary.evaluation import Options
from covary.evaluation.features import RGB, check_finite, evaluating
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject, check_numbers
from covary.nets.resnet import Stem
from covary.private import without_paths
from covary.rundir import sync_folder, write_atomic, write_tensors
from covary.version import __version__
from covary.written import check_free

Which = Literal["all", "train", "test"]
Piece = tuple[ImageStore, np.ndarray, Path]  # rows of a store, and the file of their features

SUFFIXES = (".parquet", ".npz")
PIECE = 2048
"""Images whose features are computed, and written, at once: what a kill costs at most."""
NO_LABEL = -1


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A table of features.

    path:     of the table. images: rows. features: numbers of each. bytes: of the file.
    computed: images that this call encoded; others were there from one that was interrupted. seconds: for these.
    skipped:  files of the source that cannot be read as images; they have no row.
    """

    path: Path
    images: int
    features: int
    bytes: int
    computed: int
    seconds: float
    skipped: int


def embed(
    source: str | Path | nn.Module,
    *,
    data: str,
    out: str | Path,
    split: Which = "all",
    encoder: str | None = None,
    stem: Stem | None = None,
    prefix: str = "",
    ignore: Sequence[str] = (),
    image_size: int | None = None,
    mean: RGB | None = None,
    std: RGB | None = None,
    device: str = "auto",
    batch_size: int = 256,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
) -> Embedded:
    """Write the features of all images of a SPEC, in the order of the source, to one table.

    Columns: ``id``, the number of the row; ``path``, the image's name in the store, unique within its split, a relative
    path where the image is a file; ``split``; ``label`` and ``class``, null where there is none (npz: -1 and "");
    ``embedding``, float32 (D,). The file's metadata say what encoder saw the images how. Features are those that
    ``evaluate`` takes.

    out:   .parquet, or .npz with an array for each column. Until it is whole, its pieces lie in ``OUT.parts``; the same
           call goes on there after an interruption.
    split: train, test, or all: training images first, then test images that are not among them.
    source and all others: as for ``evaluate``.

    Raises InputError before any image is encoded: another suffix, ``out`` is there, pyarrow is missing, or the pieces
    are of another encoder or other images.
    """
    path = Path(out).expanduser()
    _check(path, split)
    check_numbers(batch_size=batch_size, image_size=image_size, std=std, seed=seed)
    found = resolve(source, encoder=encoder, stem=stem, prefix=prefix, ignore=ignore, seed=seed)
    subject = Subject(
        source=found,
        data=data,
        device=dist.choose_device(device),
        batch_size=batch_size,
        seed=seed,
        options=Options(),
        image_size=image_size,
        mean=mean,
        std=std,
        root=None if root is None else Path(root),
        cache=None if cache is None else Path(cache),
    )
    stores = _stores(subject, split)
    facts = _facts(subject, stores)
    parts = path.with_name(f"{path.name}.parts")
    _begin(parts, facts, path)
    pieces = list(_pieces(stores, parts))
    images, missing = sum(len(rows) for _, rows, _ in pieces), [piece for piece in pieces if not piece[2].is_file()]
    computed, begin = sum(len(rows) for _, rows, _ in missing), time.perf_counter()
    with progress(f"embedding {data}", computed) as advance, evaluating(found.encoder, subject.device):
        for store, rows, file in missing:
            features = subject.extractor.features(store, torch.from_numpy(rows))
            check_finite(features, f"{store.split} images")
            write_tensors(file, {"features": features})
            advance(len(rows))
    seconds = time.perf_counter() - begin
    width = _features(pieces[0][2]).shape[1]
    write = _write_parquet if path.suffix == ".parquet" else _write_npz
    whole = parts / "whole"
    with writing(path.name, path.parent, needed=4 * images * width):
        write(whole, pieces, images, width, without_paths(facts, [str(source), data]))
        sync_folder(whole)
        whole.rename(path)
        sync_folder(path.parent)
    shutil.rmtree(parts)
    return Embedded(
        path=path,
        images=images,
        features=width,
        bytes=path.stat().st_size,
        computed=computed,
        seconds=seconds,
        skipped=sum(len(store.skipped) for store in stores),
    )


def _check(path: Path, split: str) -> None:
    if path.suffix not in SUFFIXES:
        raise InputError(f"--out is '{path}'; expected a file that ends in {' or '.join(SUFFIXES)}.")
    if split not in get_args(Which):
        raise InputError(f"split is '{split}'; expected one of {', '.join(get_args(Which))}.")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError("A parquet file needs pyarrow: pip install 'covary[data]', or give --out FILE.npz.")
    check_free(path, suffix=path.suffix)
    launch = dist.launch_of(os.environ)
    if launch is not None and launch.world_size > 1:
        raise InputError("embed is one process; start it without torchrun.")


def _stores(subject: Subject, split: Which) -> list[ImageStore]:
    """Return the images asked for; where the splits share images, these are training images."""

    def of(name: Split) -> ImageStore:
        return load(
            subject.data, split=name, fit=Fit.evaluate(subject.extractor.size), root=subject.root, cache=subject.cache
        )

    if split != "all":
        return [of(split)]
    train, test = of("train"), of("test")
    seen = {(name, digest.tobytes()) for name, digest in zip(train.names, train.digests, strict=True)}
    new = [row for row, name in enumerate(test.names) if (name, test.digests[row].tobytes()) not in seen]
    return [train, test.select(new)] if new else [train]


def _facts(subject: Subject, stores: Sequence[ImageStore]) -> dict[str, Any]:
    """Return everything that the table depends on."""
    extractor = subject.extractor
    return {
        "covary": __version__,
        "source": subject.source.name,
        "weights": subject.source.weights,
        "data": subject.data,
        "images": {store.split: store.fingerprint for store in stores},
        "image_size": extractor.size,
        "mean": list(extractor.mean),
        "std": list(extractor.std),
        "batch_size": extractor.batch_size,
        "piece": PIECE,
    }


def _begin(parts: Path, facts: Mapping[str, Any], out: Path) -> None:
    """Make the folder of pieces, or see that the one there is of the same table."""
    file = parts / "facts.json"
    if not parts.exists():
        write_atomic(file, json.dumps(facts, indent=2) + "\n")
        return
    try:
        begun = json.loads(read_file(file).decode())
        told = [name for name in facts if begun.get(name) != facts[name]]
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{parts} holds no pieces of a table ({error}); remove it, or give another --out.") from error
    if told:
        raise InputError(
            f"{parts} holds pieces of another table (another {', '.join(told)}); finish that one, remove the folder, "
            f"or give another --out than {out}."
        )


def _pieces(stores: Sequence[ImageStore], parts: Path) -> Iterator[Piece]:
    number = 0
    for store in stores:
        for start in range(0, len(store), PIECE):
            yield store, np.arange(start, min(start + PIECE, len(store))), parts / f"{number:06d}.safetensors"
            number += 1


def _features(file: Path) -> np.ndarray:
    try:
        return safetensors.torch.load_file(file)["features"].numpy()
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise InputError(f"{file} is damaged ({error}); remove it and run the same command again.") from error


def _text(name: str) -> str:
    r"""Return a name of a file; bytes in it that are no UTF-8 are written out, such as ``\xff``."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _labels(store: ImageStore, rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return labels, int64 (n,), -1 for none, and the names of their classes, "" for none."""
    if store.labels is None:
        return np.full(len(rows), NO_LABEL, dtype=np.int64), [""] * len(rows)
    labels = store.labels[rows]
    classes: tuple[str, ...] = store.classes or ()
    names: list[str] = [_text(classes[int(label)]) if label >= 0 else "" for label in labels]
    return labels, names


def _write_parquet(path: Path, pieces: Sequence[Piece], images: int, width: int, facts: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        {
            "id": pa.int64(),
            "path": pa.string(),
            "split": pa.string(),
            "label": pa.int64(),
            "class": pa.string(),
            "embedding": pa.list_(pa.float32(), width),
        },
        metadata={"covary": json.dumps(facts)},
    )
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for store, rows, file in pieces:
            labels, classes = _labels(store, rows)
            none = labels < 0
            columns = [
                pa.array(np.arange(count, count + len(rows))),
                pa.array([_text(store.names[row]) for row in rows], pa.string()),
                pa.array([store.split] * len(rows), pa.string()),
                pa.array(labels, mask=none),
                pa.array(classes, pa.string(), mask=none),
                pa.FixedSizeListArray.from_arrays(pa.array(_features(file).ravel()), width),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            count += len(rows)


def _write_npz(path: Path, pieces: Sequence[Piece], images: int, width: int, facts: Mapping[str, Any]) -> None:
    """Write what ``numpy.load`` reads without pickles; features go through memory a piece at a time."""
    labels = [_labels(store, rows) for store, rows, _ in pieces]
    arrays: dict[str, np.ndarray] = {
        "id": np.arange(images),
        "path": np.array([_text(store.names[row]) for store, rows, _ in pieces for row in rows]),
        "split": np.array([store.split for store, rows, _ in pieces for _ in rows]),
        "label": np.concatenate([numbers for numbers, _ in labels]),
        "class": np.array([name for _, names in labels for name in names]),
        "facts": np.array(json.dumps(facts)),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        with archive.open(zipfile.ZipInfo("embedding.npy"), "w", force_zip64=True) as entry:
            header = {"descr": "<f4", "fortran_order": False, "shape": (images, width)}
            np.lib.format.write_array_header_1_0(entry, header)
            for _, _, file in pieces:
                entry.write(np.ascontiguousarray(_features(file), dtype="<f4").tobytes())
