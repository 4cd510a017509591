"""Tar shards in the WebDataset layout, read with the standard library.

A shard is read from its first byte to its last, once for the labels and once for the images, which is all a store
needs; that takes no more than ``tarfile``, which also reads compressed shards.
"""

import glob
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Self

from covary.data.decode import SUFFIXES
from covary.data.labels import Indexer, RawLabel, class_names
from covary.data.source import Content, Record, Source, Split, identify
from covary.errors import InputError

SPLIT = "{split}"
TESTS = ("test", "val", "validation")  # the first that has shards is the test split
LARGEST = 2**28  # bytes of a member: more than the largest image has as pixels
LARGEST_NAME = 2**20  # bytes of a member's name and what else is said of it before it
JSON_KEYS = ("label", "cls", "class")  # where a sample's json holds its label

EXTENDED = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)

_RANGE = re.compile(r"(\d+)\.\.(\d+)")


class Header(tarfile.TarInfo):
    """The header of a member; one that declares a longer name is refused, since ``tarfile`` reads all of it."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Return the header in a block of a shard."""
        found = super().frombuf(buf, encoding, errors)
        if found.type in EXTENDED and found.size > LARGEST_NAME:
            raise tarfile.ReadError(f"a name of {found.size:,} bytes is declared, more than {LARGEST_NAME:,}")
        return found


@dataclass(frozen=True)
class Sample:
    """What belongs to one key of a shard: the image's bytes (empty where they were not asked for) and its raw label."""

    name: str
    image: bytes
    label: RawLabel


def source(spec: str, *, split: Split) -> Source:
    """Return the source of ``wds:PATTERN``: a path with ``{000..012}``, ``{a,b}``, ``*`` or ``{split}`` in it."""
    pattern = spec.partition(":")[2]
    if SPLIT not in pattern:
        shards = _shards(pattern)
        tests = []
    else:
        shards = _shards(pattern.replace(SPLIT, "train"))
        tests = next(filter(None, (_shards(pattern.replace(SPLIT, name)) for name in TESTS)), [])
    chosen = tests if split == "test" and tests else shards
    if not chosen:
        raise InputError(f"no tar shard matches '{pattern}' for the {split} split; check the path and the braces.")
    every = [*shards, *tests]
    return Source(
        name=spec,
        identity=identify("tar", Path("/"), every, len(shards), split if tests else "all"),
        content=lambda: _content(spec, chosen, every),
        files=True,
        held_out="never" if tests else "labelled",
    )


def _shards(pattern: str) -> list[Path]:
    return sorted(
        {Path(path).resolve() for word in braces(pattern) for path in glob.glob(str(Path(word).expanduser()))}
    )


def braces(pattern: str) -> list[str]:
    """Expand ``{000..012}`` (zero-padded as its start is) and ``{a,b}``, leftmost first, innermost first."""
    match = re.search(r"\{([^{}]*(?:,|\.\.)[^{}]*)\}", pattern)
    if not match:
        return [pattern]
    inside = match[1]
    if numbers := _RANGE.fullmatch(inside):
        first, last = numbers.groups()
        words = [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    else:
        words = inside.split(",")
    return [full for word in words for full in braces(pattern[: match.start()] + word + pattern[match.end() :])]


def _content(spec: str, chosen: list[Path], every: list[Path]) -> Content:
    labels = {shard: [sample.label for sample in _samples(shard, images=False)] for shard in every}
    classes = class_names((label for found in labels.values() for label in found), name=spec)
    index = Indexer(classes, name=spec)
    return Content(
        count=sum(len(labels[shard]) for shard in chosen),
        classes=classes,
        records=(_record(sample, index) for shard in chosen for sample in _samples(shard, images=True)),
    )


def _record(sample: Sample, index: Indexer) -> Record:
    label = index(sample.label)
    return Record(sample.name, lambda: (sample.image, label))


def _samples(shard: Path, *, images: bool) -> Iterator[Sample]:
    """Yield the samples of a shard that have an image: neighbouring files whose names agree up to the first dot."""
    if not shard.is_file():
        raise InputError(f"the tar shard {shard} is no file.")
    with _reading(shard), tarfile.open(shard, tarinfo=Header) as tar:
        files = (member for member in tar if member.isfile())
        for key, members in groupby(files, key=lambda member: _key(member.name)):
            image: bytes | None = None
            label: RawLabel = None
            for member in members:
                extension = member.name[len(key) :].lower()
                if extension in SUFFIXES:
                    image = _bytes(tar, member) if images else b""
                elif extension == ".cls":
                    label = _parsed(_bytes(tar, member).decode())
                elif extension == ".json" and label is None:
                    label = _json_label(shard, member.name, _bytes(tar, member))
            if image is not None:
                yield Sample(f"{shard.name}/{key}", image, label)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _bytes(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > LARGEST:
        raise ValueError(f"{member.name} declares {member.size:,} bytes, more than the {LARGEST:,} of any image")
    file = tar.extractfile(member)
    return b"" if file is None else file.read()


def _parsed(text: str) -> RawLabel:
    text = text.strip()
    return int(text) if re.fullmatch(r"-?\d+", text) else text or None


def _json_label(shard: Path, name: str, data: bytes) -> RawLabel:
    try:
        value = json.loads(data.decode())
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deeply") from error
    found = next((value[key] for key in JSON_KEYS if key in value), None) if isinstance(value, dict) else value
    if found is not None and not isinstance(found, int | str):
        raise InputError(f"{shard} has in {name} the label {found!r}; expected a number or a word.")
    return found


@contextmanager
def _reading(shard: Path) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the tar shard {shard} cannot be read ({reason}); copy it again.") from error
