"""D1: a stranger's file runs nothing and writes nothing, whatever reads it.

Beside the canary, an audit hook counts what the reader did: processes, shells, code run, names looked up by a
pickle, modules imported, connections.
"""

import gc
import json
import os
import random
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from covary.errors import InputError
from reliability import readers
from reliability.hostile import PAYLOADS, Payload, png
from reliability.readers import READERS, Reader
from reliability.row import Count, Figure, Row, replaced

WATCHED = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn"),
    *("exec", "import", "pickle.find_class", "ctypes.dlopen", "socket.connect", "socket.getaddrinfo"),
)
KIN = (("object array", "store, spans"), ("eval in .pt", "weights .pt"), ("Python text", "run.json"))  # come first
TRIALS = len(PAYLOADS) * len(READERS)
seen: list[str] = []
watching = False


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Give payloads to readers, and each time to the naive reader too, which must fall for it."""
    count, canary, place = Count(), folder / "canary", folder / "place"
    place.mkdir()
    readers.make(place)
    pairs = [(payload, reader) for payload in PAYLOADS for reader in READERS]
    random.Random(seed).shuffle(pairs)
    pairs.sort(key=lambda pair: pair not in KIN)
    made = {name: payload.make(canary) for name, payload in PAYLOADS.items()}
    for reader in READERS.values():  # what is imported on first use is imported now
        for content in (
            png(),
            b"{}",
            *(made[name] for name in ("os.mkdir in .pt", "parquet type", "tar with absolute path")),
        ):
            attempt(reader, place, content, canary)
    for name, where in pairs[:trials]:
        outcome = attempt(READERS[where], place, made[name], canary)
        fired = falls(PAYLOADS[name], folder / "naive", made[name], canary)
        count.add(f"{name} to {where}", held=not outcome, fired=fired, seen=outcome)
    return count.figure(payloads=len(PAYLOADS), readers=len(READERS))


def attempt(reader: Reader, place: Path, content: bytes, canary: Path) -> list[str]:
    """Read a stranger's bytes; return what should not have happened."""
    file, before = readers.put(reader, place, content)
    faults = []
    with watched() as events:
        try:
            reader.read(place)
        except InputError as error:
            faults += ["an error of several lines"] * ("\n" in str(error))
        except Exception as error:  # whatever else is raised is a fault of this trial
            faults.append(repr(error))
    faults += events
    gc.collect(0)  # maps of the file
    readers.put_back(reader, place, file, before)
    shutil.rmtree(place / "cache", ignore_errors=True)
    return faults + ["the canary"] * gone(canary)


def falls(payload: Payload, file: Path, content: bytes, canary: Path) -> bool:
    """Whether the naive reader makes the canary."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    try:
        payload.read(file)
    except Exception:  # it may fail afterwards, over what the call returned
        return gone(canary)
    return gone(canary)


def gone(canary: Path) -> bool:
    """Remove the canary; return whether it was there."""
    there = os.path.lexists(canary)
    if there:
        shutil.rmtree(canary) if canary.is_dir() else canary.unlink()
    return there


@contextmanager
def watched() -> Iterator[list[str]]:
    """Record what happens in a block."""
    global watching
    seen.clear()
    watching = True
    try:
        yield seen
    finally:
        watching = False


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Note an event of the interpreter while it is watched."""
    if watching and event in WATCHED:
        seen.append(f"{event} {str(arguments)[:80]}")


sys.addaudithook(hook)
read_array = np.lib.format.read_array
loads = json.loads


def load_somehow(path: Path) -> object:
    """Read weights as tensors, and where that fails as whatever they are."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # what the naive do
            return torch.load(path, map_location="cpu", weights_only=False)


def load_objects(file: Any, **_: object) -> object:
    """Read an array with whatever objects it holds."""
    return read_array(file, allow_pickle=True)


def parse_somehow(text: str, **options: Any) -> Any:
    """Read JSON, and where that fails a Python value."""
    try:
        return loads(text, **options)
    except ValueError:
        return eval(text)


ROW = Row(
    id="D1",
    promise="A hostile file runs nothing and writes nothing, whichever of its readers it is given to",
    trials={"ci": 350, "release": TRIALS},
    check=check,
    mutants={
        "weights_only=False where True fails": replaced("covary.evaluation.pickled.load", load_somehow),
        "eval where JSON fails": replaced("covary.rundir.json.loads", parse_somehow),
        "allow_pickle=True": replaced("covary.data.index.np.lib.format.read_array", load_objects),
    },
    mutant_trials=50,
)
