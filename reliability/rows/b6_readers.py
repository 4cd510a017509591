"""B6: what befalls the threads that read images, their store and its builder.

covary reads in threads: there is no worker to be killed and no shared memory to run out of, so the trials are a store
that is damaged while or before a run reads it, a disk that answers with an error, a builder that is killed, and a
/dev/shm with next to no room.
"""

import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from torch import Tensor

from covary.data import stored
from covary.data.encoded import EncodedStore, Packed
from covary.data.fit import Fit
from covary.data.index import Form
from covary.data.source import Record
from covary.data.stored import Broken, Stored
from covary.rundir import RunDir
from covary.step import Step
from covary.types import Batch
from reliability.children import forked
from reliability.commands import TINY, Answer, command
from reliability.pictures import folder_of
from reliability.row import Count, Figure, Row, replaced

LIMIT = 30.0  # seconds until an error must be told
IMAGES = 8
NEW_USER, NEW_MOUNTS, PRIVATE = 0x10000000, 0x00020000, (1 << 14) | (1 << 18)  # of unshare(2) and mount(2)
ENCODED = ("--residence", "encoded")
STREAMED = ("--residence", "streamed")

Attempt = tuple[bool, bool, Any]  # whether the promise held, whether the fault came, what was seen

READ, STEP, STORED_ONE = Packed.read, Step.__call__, stored.stored_one


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Let a child meet each fault in a folder of its own."""
    count = Count()
    os.chdir(folder)
    folder_of(Path("data"), IMAGES)
    train("whole", *STREAMED)
    for name, attempt in list(FAULTS.items())[:trials]:
        for place in ("cache", "out"):
            shutil.rmtree(place, ignore_errors=True)
        end = forked(attempt, limit=LIMIT)
        held, fired, seen = end.value or (False, True, f"child {end.code} after {end.seconds:.0f} s: {end.said[-300:]}")
        count.add(name, held=held, fired=fired, seen=seen)
    return count.figure()


def train(out: str, *options: str) -> Answer:
    """Train for four steps, with a checkpoint after each."""
    return command(
        *("pretrain", "--data", "data", *TINY, "--epochs", "2", "--batch-size", "4", "--checkpoint-steps", "1"),
        *("--out", out, "--cache", "cache", *options),
    )


def whole(*options: str) -> bool:
    """Run, or continue; return whether the encoder is the one of a run that met nothing, and nothing is left over."""
    answer = train("out", *options)
    same = (
        answer.code == 0
        and Path("out/encoder.safetensors").read_bytes() == Path("whole/encoder.safetensors").read_bytes()
    )
    return same and not list(Path("cache").rglob("*.building"))


def damaged_under_way(damage: Callable[[Path], object]) -> Callable[[], Attempt]:
    """Return the attempt in which the file of an encoded store is damaged in the first epoch."""

    def attempt() -> Attempt:
        before = b""

        def step(self: Step, batch: Batch, index: int) -> dict[str, Tensor]:
            nonlocal before
            if index == 1:
                (file,) = Path("cache").rglob("files.bin")
                before = file.read_bytes()
                damage(file)
            return STEP(self, batch, index)

        with patch("covary.step.Step.__call__", step):
            answer = train("out", *ENCODED)
        (file,) = Path("cache").rglob("files.bin")
        fired = file.read_bytes() != before
        told = told_of_an_image(answer)
        shutil.rmtree(file.parent)  # as the line says
        return told and whole(*ENCODED), fired, answer.err[-300:]

    return attempt


def told_of_an_image(answer: Answer) -> bool:
    """Whether the last line names an image and the store's file, and the last checkpoint is whole."""
    checkpoint, damaged = RunDir(Path("out")).newest_checkpoint()
    last = answer.err.splitlines()[-1]
    named = last.startswith("covary: the image ") and ".png cannot be read back" in last and "files.bin" in last
    intact = checkpoint is not None and checkpoint.step == 2 and not damaged
    return answer.code == 2 and named and intact and "Traceback" not in answer.err


def disk_error() -> Attempt:
    """Let the disk answer with an error in the second epoch."""
    reads: list[int] = []

    def read(self: Packed, start: int, stop: int) -> bytes:
        reads.append(start)
        if len(reads) > IMAGES + 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return READ(self, start, stop)

    with patch("covary.data.encoded.Packed.read", read):
        answer = train("out", *ENCODED)
    return told_of_an_image(answer) and whole(*ENCODED), len(reads) > IMAGES + 1, answer.err[-300:]


def damaged_before(name: str, damage: Callable[[Path], object]) -> Callable[[], Attempt]:
    """Return the attempt in which a file of a store is damaged before the run that reads it."""

    def attempt() -> Attempt:
        train("earlier", *STREAMED)
        (file,) = Path("cache").rglob(name)
        before = file.read_bytes()
        damage(file)
        fired = not file.exists() or file.read_bytes() != before
        shutil.rmtree("earlier")
        return whole(*STREAMED), fired, "the store was not built anew"

    return attempt


def killed_while_building(place: str, kill: Callable[..., object]) -> Callable[[], Attempt]:
    """Return the attempt in which the builder of a store is killed, and another run follows."""

    def build() -> int:
        with patch(place, kill):
            return train("out").code

    def attempt() -> Attempt:
        end = forked(build, limit=LIMIT)
        left = [path.name for path in Path("cache").rglob("*.building")]
        return whole(), end.code == -signal.SIGKILL and bool(left), f"{end.code}, {left}"

    return attempt


def die(*_: object) -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_the_fifth(record: Record, fit: Fit, form: Form) -> Stored | Broken:
    """Decode until the fifth image, then kill this process."""
    if record.name.startswith("5"):
        die()
    return STORED_ONE(record, fit, form)


def without_shared_memory(size: int, *options: str) -> Callable[[], Attempt]:
    """Return the attempt in which /dev/shm has room for so many bytes."""

    def attempt() -> Attempt:
        system = ctypes.CDLL(None, use_errno=True)
        user = 0 if os.geteuid() == 0 else NEW_USER
        answers = [
            system.unshare(user | NEW_MOUNTS),
            system.mount(b"none", b"/", None, PRIVATE, None),
            system.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, f"size={size}".encode()),
        ]
        room = os.statvfs("/dev/shm")
        fired = not any(answers) and room.f_blocks * room.f_frsize == size
        return whole(*options), fired, f"unshare and mounts answered {answers}"

    return attempt


def zeros(file: Path) -> None:
    """Overwrite a page in the middle."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Cut off the end."""
    os.truncate(file, file.stat().st_size // 2)


def other(file: Path) -> None:
    """Write other bytes of the same length."""
    file.write_bytes(b"\xff" * file.stat().st_size)


FAULTS: dict[str, Callable[[], Attempt]] = {
    "zeros in the files": damaged_under_way(zeros),
    "the files cut": damaged_under_way(cut),
    "other bytes in the files": damaged_under_way(other),
    "the disk answers with an error": disk_error,
    "killed while decoding": killed_while_building("covary.data.stored.stored_one", die_at_the_fifth),
    "killed before the store is whole": killed_while_building("covary.data.build.sync_folder", die),
    "pixels cut": damaged_before("pixels.bin", cut),
    "pixels removed": damaged_before("pixels.bin", Path.unlink),
    "index torn": damaged_before("meta.json", cut),
    "places of images torn": damaged_before("spans.npy", cut),
    "no shared memory": without_shared_memory(4096, *STREAMED),
    "2 MB of shared memory": without_shared_memory(2 * 2**20, *ENCODED),
}


def black(store: EncodedStore, row: int) -> tuple[np.ndarray, ...]:
    """Decode an image, or give a black one and say nothing."""
    try:
        return PLANES(store, row)
    except Exception:  # as loaders do that must not stop
        height, width = store.sizes[row]
        return (np.zeros((height, width), dtype=np.uint8),) * 3


PLANES = EncodedStore._planes

ROW = Row(
    id="B6",
    promise="A damaged store or disk error stops a run with the image's name, its checkpoint whole; no leftover blocks",
    trials={"ci": len(FAULTS), "release": len(FAULTS)},
    check=check,
    mutants={
        "a black image instead": replaced("covary.data.encoded.EncodedStore._planes", black),
        "leftovers stay": replaced(
            "covary.data.build.shutil", SimpleNamespace(rmtree=lambda *_, **__: None, disk_usage=shutil.disk_usage)
        ),
    },
    mutant_trials=6,
)
