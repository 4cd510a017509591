"""B1: damaged image files of every format, through the folder source and the store: each is used or named."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from PIL import Image

from covary.data import Fit, load, stored
from covary.data.index import Form
from covary.data.source import Record
from covary.data.stored import Broken, Stored
from reliability.children import forked
from reliability.pictures import variety
from reliability.row import Count, Figure, Row, replaced

TOGETHER = 250  # files of a folder that a child reads
HANG = 10.0  # seconds that one file may take: damage can claim the most pixels that are allowed, which take about 3
LIMIT = 60.0  # seconds that a folder may take
DAMAGE: dict[str, Callable[[bytearray, list[bytes], random.Random], None]] = {}


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Write folders of damaged files; have each folder read by a child, and settle what became of every file."""
    draw, count, used = random.Random(seed), Count(), 0
    slowest, crashes = 0.0, 0
    for first in range(0, trials, TOGETHER):
        root = folder / f"{first}"
        root.mkdir()
        changed = write_damaged(root, min(TOGETHER, trials - first), draw)
        end = forked(lambda root=root: read_folder(root), limit=LIMIT)
        found = end.value or {"used": [], "skipped": {}, "seconds": {}}
        crashes += end.value is None
        for name, fired in changed.items():
            taken, reason = name in found["used"], found["skipped"].get(name, "")
            took = found["seconds"].get(name, 0.0)
            slowest = max(slowest, took)
            used += taken
            settled = taken != bool(reason) and took <= HANG
            count.add(
                name, held=settled, fired=fired, seen=f"{reason} {took:.1f} s, child {end.code} {end.said[-200:]}"
            )
    return count.figure(crashes=crashes, used=used, skipped=count.held - used, slowest_s=round(slowest, 2))


def write_damaged(root: Path, files: int, draw: random.Random) -> dict[str, bool]:
    """Write damaged files into a folder; return their names, and whether each differs from the whole file."""
    whole = variety()
    contents = list(whole.values())
    changed = {}
    for index in range(files):
        form = draw.choice(list(whole))
        kind = draw.choice(list(DAMAGE))
        content = bytearray(whole[form])
        while content == whole[form]:
            DAMAGE[kind](content, contents, draw)
        name = f"{index:03}-{kind}-{form}"
        (root / name).write_bytes(content)
        changed[name] = (root / name).read_bytes() != whole[form]
    return changed


def read_folder(root: Path) -> dict[str, Any]:
    """Read a folder into a store as training does; return what was used, what was skipped and why, and how long."""
    read_one, seconds = stored.stored_one, {}

    def timed(record: Record, fit: Fit, form: Form) -> Stored | Broken:
        began = time.monotonic()
        result = read_one(record, fit, form)
        seconds[record.name] = time.monotonic() - began
        return result

    with patch("covary.data.stored.stored_one", timed):
        store = load(str(root), split="train", fit=Fit.train(16), cache=root.parent / "cache", max_bad=1.0)
    return {"used": store.names, "skipped": dict(store.skipped), "seconds": seconds}


def damage(kind: str) -> Callable[[Callable[[bytearray, list[bytes], random.Random], None]], None]:
    """Register a kind of damage, done in place; the files of all forms are there to splice from."""
    return lambda change: DAMAGE.update({kind: change})


@damage("flip")
def flip(content: bytearray, others: list[bytes], draw: random.Random) -> None:
    """Flip one bit, or several."""
    for _ in range(draw.choice((1, 1, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


@damage("cut")
def cut(content: bytearray, _: list[bytes], draw: random.Random) -> None:
    """Drop the end."""
    del content[draw.randrange(len(content)) :]


@damage("splice")
def splice(content: bytearray, others: list[bytes], draw: random.Random) -> None:
    """Go on with the end of a file of any form."""
    other = draw.choice(others)
    content[draw.randrange(1, len(content)) :] = other[draw.randrange(len(other)) :]


@damage("zero")
def zero(content: bytearray, _: list[bytes], draw: random.Random) -> None:
    """Overwrite a stretch with zeros, as a lost page of a disk is."""
    start = draw.randrange(len(content))
    end = min(len(content), start + draw.choice((4, 32, 256)))
    content[start:end] = bytes(end - start)


@damage("header")
def header(content: bytearray, others: list[bytes], draw: random.Random) -> None:
    """Write random bytes where formats keep sizes, modes and offsets."""
    for _ in range(draw.choice((1, 4))):
        content[draw.randrange(min(64, len(content)))] = draw.randrange(256)


def careless(record: Record, fit: Fit, form: Form) -> Stored | Broken:
    """Read as most loaders do: a broken file is expected to raise OSError, and nothing else."""
    file, _ = record.read()
    if isinstance(file, Path):
        try:
            with Image.open(file) as image:
                image.convert("RGB")
        except OSError as error:
            return Broken(record.name, str(error))
    return read_one(record, fit, form)


read_one = stored.stored_one

ROW = Row(
    id="B1",
    promise="A damaged image file is used or left out with its reason, never a crash or a hang; every file is counted",
    trials={"ci": 10_000, "release": 200_000},
    check=check,
    mutants={"OSError is all that is caught": replaced("covary.data.stored.stored_one", careless)},
    mutant_trials=1000,
)
