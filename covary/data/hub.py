"""``hf:NAME``: a data set of the Hugging Face hub, or a local folder that the ``datasets`` library can load."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from covary.data import spec as grammar
from covary.data.labels import Indexer, class_names
from covary.data.source import Content, Record, Source, Split, identify, require
from covary.errors import InputError

TESTS = ("test", "validation", "valid", "val")  # the first that exists is the test split
LABELS = ("label", "labels", "fine_label", "class")
ROWS = 256  # read at once


def source(spec: str, *, split: Split) -> Source:
    """Return the source of ``hf:NAME`` or ``hf:NAME:config=CONFIG``."""
    name, chosen = grammar.parse(spec.partition(":")[2], allowed=("config",))
    if not name:
        raise InputError(f"the data '{spec}' names no data set; write hf:NAME, such as hf:uoft-cs/cifar10.")
    splits = _loaded(spec, name, chosen.get("config"))
    test = next((part for part in TESTS if part in splits), None)
    part = test if split == "test" and test else "train"
    if part not in splits:
        raise InputError(f"'{spec}' has no train split (found: {', '.join(splits)}).")
    files = [Path(entry["filename"]) for entry in splits[part].cache_files]
    return Source(
        name=spec,
        identity=identify("hf", Path("/"), files, name, chosen, part, len(splits[part])),
        content=lambda: _content(spec, splits[part], list(splits.values())),
        files=True,
        held_out="never" if test else "labelled",
    )


def _loaded(spec: str, name: str, config: str | None) -> Any:
    datasets = require("datasets", extra="data", needed_for=f"the data '{spec}'")
    try:
        return datasets.load_dataset(name, config)
    except Exception as error:  # the library raises a dozen kinds, from requests to its own
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"'{spec}' cannot be loaded ({type(error).__name__}: {reason}); check the name and the network."
        ) from error


def _content(spec: str, chosen: Any, every: list[Any]) -> Content:
    datasets = require("datasets", extra="data", needed_for=f"the data '{spec}'")
    features = chosen.features
    image = next((name for name, feature in features.items() if isinstance(feature, datasets.Image)), None)
    if image is None:
        raise InputError(f"'{spec}' has no column of images (columns: {', '.join(features)}).")
    typed = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    label = next((name for name in (*LABELS, *typed) if name in features), None)
    if label in typed:
        classes = tuple(features[label].names)
    else:
        classes = class_names((value for part in every for value in part[label]), name=spec) if label else None
    rows = chosen.select_columns([image, *([label] if label else [])]).cast_column(image, datasets.Image(decode=False))
    return Content(
        count=len(chosen), classes=classes, records=_records(rows, image, label, Indexer(classes, name=spec))
    )


def _records(rows: Any, image: str, label: str | None, index: Indexer) -> Iterator[Record]:
    row = 0
    for batch in rows.iter(ROWS):
        labels = batch[label] if label else [None] * len(batch[image])
        for value, raw in zip(batch[image], labels, strict=True):
            data = value["bytes"] if value["bytes"] is not None else Path(value["path"])
            found = index(raw)
            yield Record(str(row), lambda data=data, found=found: (data, found))
            row += 1
