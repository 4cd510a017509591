"""D2: our own files, changed at random, are refused or done without: no other error, no crash, no wrong index.

Half of the changed checkpoints and indexes get a digest that fits, so that their parsers see the damage and not the
digest alone, which A9 tests.
"""

import json
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

from covary.data.store import ImageStore
from covary.errors import InputError
from reliability import readers
from reliability.forked import outcomes, peak_of
from reliability.readers import READERS
from reliability.row import Count, Figure, Row, replaced

SHARES = {
    "resume, state": 2,
    "resume, manifest": 2,
    "resume, metrics": 1,
    "run.json": 1,
    "run.json, continued": 1,
    "weights .safetensors": 1,
    "store, meta": 4,
    **{f"store, {name}": 2 for name in ("spans", "sizes", "labels", "digests")},
    "result of a table": 1,
}
ROOM = 2**30  # bytes of address space for a child
SLACK = 8 * 2**20  # bytes more that a reader may hold, whatever the size of the file


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Change a file, read it in a child, look at what is raised, returned and held."""
    place, count = folder / "place", Count()
    place.mkdir()
    readers.make(place)
    names = random.Random(seed).choices(list(SHARES), list(SHARES.values()), k=trials)
    whole = {name: (readers.place_of(READERS[name], place)).read_bytes() for name in SHARES}
    right = {name: READERS[name].read(place) for name in SHARES}  # and what is imported on first use
    usual: dict[str, int] = {}
    for name, outcome in zip(
        SHARES,
        outcomes(lambda i: {"grown": peak_of(lambda: READERS[list(SHARES)[i]].read(place))}, len(SHARES)),
        strict=True,
    ):
        usual[name] = outcome["grown"]
    most = 0
    for trial, outcome in enumerate(
        outcomes(partial(attempt, seed=seed, names=names, whole=whole, right=right, place=place), trials, room=ROOM)
    ):
        name = names[trial]
        grown, limit = outcome.get("grown", 0), usual[name] + 3 * len(whole[name]) + SLACK
        most = max(most, grown)
        faults = outcome.get("faults", [str(outcome)]) + [f"{grown:,} bytes held"] * (grown > limit)
        count.add(f"{name}, trial {trial}", held=not faults, fired=outcome.get("changed", True), seen=faults)
    return count.figure(most_megabytes=round(most / 1e6, 1))


def attempt(
    trial: int, *, seed: int, names: Sequence[str], whole: dict[str, bytes], right: dict[str, Any], place: Path
) -> dict[str, Any]:
    """Return what came of a trial: faults, and by how much the memory grew."""
    name, draw = names[trial], random.Random(f"{seed} {trial}")
    reader, content = READERS[name], damaged(whole[names[trial]], draw)
    sealed = draw.random() < 0.5
    file = readers.place_of(reader, place)
    file.write_bytes(content)
    if sealed:
        reader.seal(place)
    faults: list[str] = []

    def read() -> None:
        try:
            found = reader.read(place)
            if isinstance(found, ImageStore):
                found.images(range(len(found)))
                faults.extend(["another index"] * (not sealed and not same(found, right[name])))
        except InputError:
            pass
        except Exception as error:  # any other is a fault
            faults.append(repr(error))

    grown = peak_of(read)
    file.write_bytes(whole[name])
    reader.seal(place)
    return {"faults": faults, "grown": grown, "changed": content != whole[name]}


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Return a file's bytes, changed."""
    changed = bytearray(content)
    place, other = draw.randrange(len(content)), draw.randrange(len(content))
    length = draw.randrange(1, 64)
    match draw.choice(("flip", "flips", "byte", "cut", "lengthen", "zeros", "copy", "remove", "digits", "nest")):
        case "flip":
            changed[place] ^= 1 << draw.randrange(8)
        case "flips":
            for at in draw.choices(range(len(content)), k=8):
                changed[at] ^= 1 << draw.randrange(8)
        case "byte":
            changed[place] = changed[place] ^ draw.randrange(1, 256)
        case "cut":
            del changed[place:]
        case "lengthen":
            changed += draw.randbytes(length)
        case "zeros":
            changed[place : place + length] = bytes(length + 1)
        case "copy":
            changed[place:place] = content[other : other + length] or b"{"
        case "remove":
            del changed[place : place + length]
        case "digits":
            changed[place:place] = draw.choice((b"9" * length, b"-1", b"1e999", b"NaN", b"null"))
        case _:
            changed[place:place] = draw.choice((b"[", b'{"a":')) * 5_000
    return bytes(changed)


def same(store: ImageStore, other: ImageStore) -> bool:
    """Whether two stores say the same of their images."""
    arrays = ("labels", "sizes", "digests", "spans")
    return (store.names, store.classes, store.skipped, store.ignored) == (
        other.names,
        other.classes,
        other.skipped,
        other.ignored,
    ) and all(np.array_equal(getattr(store, name), getattr(other, name)) for name in arrays)


def unchecked(path: Path) -> dict[str, torch.Tensor]:
    """Read weights without a word for what is wrong with them."""
    return safetensors.torch.load(path.read_bytes())


loads = json.loads


def parse_somehow(text: str, **options: Any) -> Any:
    """Read JSON, and where that fails a Python value."""
    try:
        return loads(text, **options)
    except ValueError:
        return eval(text)


ROW = Row(
    id="D2",
    promise="Our own files, changed at random, are refused in one line or rebuilt, in little memory",
    trials={"ci": 10_000, "release": 200_000},
    check=check,
    mutants={
        "no digest of the index": replaced("covary.data.index._digest", lambda contents: "0"),
        "eval where JSON fails": replaced("covary.rundir.json.loads", parse_somehow),
        "no refusal of weights": replaced("covary.evaluation.weights._safetensors", unchecked),
    },
    mutant_trials=600,
)
