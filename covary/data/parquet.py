"""A folder of parquet files in the Hugging Face image layout: an image column of bytes, class names in the schema."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from covary.data.labels import Indexer, RawLabel, class_names
from covary.data.source import Content, Record, Source, Split, identify, require
from covary.errors import InputError

TESTS = ("test", "validation", "val")  # the first that exists is the test split
IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class")
ROWS = 256  # read at once

_FILE = re.compile(r"(?P<split>[a-z]+)(-\d+-of-\d+)?\.parquet")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which columns hold what, and the class names where the schema has them."""

    image: str
    label: str | None
    classes: tuple[str, ...] | None


def is_parquet(root: Path) -> bool:
    """Whether a folder holds ``train.parquet``, ``test-00000-of-00002.parquet`` or the like."""
    return bool(_split_files(root))


def source(spec: str, root: Path, *, split: Split) -> Source:
    """Return the source of a folder with ``train.parquet`` (and ``test.parquet``), sharded or not, or in ``data/``."""
    splits = _split_files(root)
    test = next((name for name in TESTS if name in splits), None)
    if "train" not in splits and (split == "train" or test is None):
        raise InputError(f"{root} has no train.parquet (found: {', '.join(sorted(splits))}.parquet).")
    files = splits[test] if split == "test" and test else splits["train"]
    return Source(
        name=spec,
        identity=identify("parquet", root, [file for name in sorted(splits) for file in splits[name]], files),
        content=lambda: _content(spec, files, [file for name in splits for file in splits[name]]),
        files=True,
        held_out="never" if test else "labelled",
    )


def _split_files(root: Path) -> dict[str, list[Path]]:
    splits: dict[str, list[Path]] = {}
    for folder in (root, root / "data"):
        for file in sorted(folder.glob("*.parquet")):
            match = _FILE.fullmatch(file.name)
            if match and match["split"] in ("train", *TESTS) and file.is_file():  # of a pipe nothing is read
                splits.setdefault(match["split"], []).append(file)
        if splits:
            break
    return splits


def _content(spec: str, files: list[Path], all_files: list[Path]) -> Content:
    parquet = require("pyarrow.parquet", extra="data", needed_for=f"the parquet data '{spec}'")
    with _reading(files[0]):
        schema = parquet.read_schema(files[0])
    layout = _layout(spec, schema)
    classes = layout.classes
    if classes is None and layout.label:
        classes = class_names(_column(parquet, all_files, layout.label), name=spec)
    return Content(
        count=sum(_rows(parquet, file) for file in files),
        classes=classes,
        records=_records(parquet, files, layout, Indexer(classes, name=spec)),
    )


def _layout(spec: str, schema: Any) -> Layout:
    """Find the columns: by the feature types that Hugging Face writes into the schema, else by their usual names."""
    features = _features((schema.metadata or {}).get(b"huggingface", b"{}"))
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    image = _first(schema.names, [name for name, kind in kinds.items() if kind == "Image"], IMAGE_COLUMNS)
    label = _first(schema.names, [name for name, kind in kinds.items() if kind == "ClassLabel"], LABEL_COLUMNS)
    if image is None:
        raise InputError(f"'{spec}' has no image column (columns: {', '.join(schema.names)}); expected 'image'.")
    named = features[label].get("names") if label and kinds.get(label) == "ClassLabel" else None
    words = isinstance(named, list) and all(isinstance(name, str) for name in named)
    return Layout(image=image, label=label, classes=tuple(named) if named and words else None)


def _features(metadata: bytes) -> dict[str, Any]:
    """Return the feature types that Hugging Face writes into the schema; none where it holds something else."""
    try:
        features = json.loads(metadata.decode())["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _first(columns: list[str], typed: list[str], usual: tuple[str, ...]) -> str | None:
    """Return the column to use: a usual name among the typed ones, any typed one, a usual name."""
    ranked = [*[name for name in usual if name in typed], *typed, *usual]
    return next((name for name in ranked if name in columns), None)


def _rows(parquet: Any, file: Path) -> int:
    with _reading(file):
        return parquet.read_metadata(file).num_rows


def _column(parquet: Any, files: list[Path], column: str) -> Iterator[RawLabel]:
    for file in files:
        with _reading(file):
            yield from parquet.read_table(file, columns=[column])[column].to_pylist()


def _records(parquet: Any, files: list[Path], layout: Layout, index: Indexer) -> Iterator[Record]:
    columns = [layout.image, *([layout.label] if layout.label else [])]
    for file in files:
        row = 0
        with _reading(file), parquet.ParquetFile(file) as opened:
            for batch in opened.iter_batches(ROWS, columns=columns):
                labels = batch[layout.label].to_pylist() if layout.label else [None] * len(batch)
                for image, label in zip(batch[layout.image], labels, strict=True):
                    yield _record(f"{file.name}:{row}", image, index(label), file.parent)
                    row += 1


def _record(name: str, image: Any, label: int, folder: Path) -> Record:
    """Make a record of an Arrow scalar: struct{bytes, path}, or the bytes themselves."""

    def read() -> tuple[bytes | Path, int]:
        value = image.as_py()
        if not isinstance(value, dict):
            return value or b"", label
        if value.get("bytes") is None and value.get("path"):
            return _beside(folder, value["path"]), label
        return value.get("bytes") or b"", label

    return Record(name, read)


def _beside(folder: Path, name: str) -> Path:
    """Return the file of a name in a folder; a name that leads out of it is refused: it may be a stranger's."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"the file {name} lies outside of {folder}")
    return path


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Name the file that pyarrow cannot read; its errors are of these kinds."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the parquet file {file} cannot be read ({reason}); copy it again.") from error
