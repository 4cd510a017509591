"""C7: where memory is full in the middle of a run, one line says what to change; the run goes on from its checkpoint.

The exit code is 1, as of every run that cannot go on.
"""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from covary.data.encoded import EncodedStore
from covary.meter import memory
from covary.rundir import RunDir
from covary.step import Step
from covary.types import Batch
from reliability.children import forked
from reliability.commands import TINY, Answer, command
from reliability.pictures import folder_of
from reliability.row import Count, Figure, Row, replaced

FULL_AT = 2  # steps that are done, of four, when memory is full; there is a checkpoint after each
ROOM = 64_000_000  # bytes that a process may take beyond what it holds, where the system refuses more
LIMIT = 60.0  # seconds that a child may take
SAYS = "covary: The memory is too small for batches of 4 images of 8 px with resnet8; lower --batch-size, raise "
TORCH = "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"

FILL, STEP = EncodedStore.fill, Step.__call__


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Run children out of memory, each in another way, then let each run continue."""
    os.chdir(folder)
    count = Count()
    folder_of(Path("data"), 8)
    train("whole")
    whole = Path("whole/encoder.safetensors").read_bytes()
    for name, (place, full) in list(WAYS.items())[:trials]:
        end = forked(lambda place=place, full=full: exhausted(place, full), limit=LIMIT)
        code, err, fired = end.value or (end.code, end.said, True)
        last = err.splitlines()[-1] if err else ""
        checkpoint, damaged = RunDir(Path("out")).newest_checkpoint()
        step = checkpoint.step if checkpoint else 0
        intact = not damaged and step == (0 if place.endswith("build") else FULL_AT)
        again = forked(lambda: train("out").code, limit=LIMIT)
        continued = again.value == 0 and Path("out/encoder.safetensors").read_bytes() == whole
        count.add(
            name,
            held=code == 1 and last.startswith(SAYS) and "Traceback" not in err and intact and continued,
            fired=fired,
            seen=f"exit {code}, {last}, checkpoint of step {step} {damaged}, continued {continued}",
        )
        shutil.rmtree("out")
    return count.figure()


def exhausted(place: str, full: Callable[..., object]) -> tuple[int, str, bool]:
    """Train with a function replaced by one that runs out of memory; return the answer, and whether it did."""
    errors: list[BaseException] = []

    def noted(*arguments: object) -> object:
        try:
            return full(*arguments)
        except BaseException as error:
            errors.append(error)
            raise

    with patch(place, noted):
        answer = train("out")
    return answer.code, answer.err, bool(errors)


def train(out: str) -> Answer:
    """Train for four steps from files that are decoded in every epoch, with a checkpoint after each."""
    return command(
        *("pretrain", "--data", "data", *TINY, "--epochs", "2", "--batch-size", "4", "--checkpoint-steps", "1"),
        *("--residence", "encoded", "--readers", "1", "--out", out, "--cache", "cache"),
    )


def in_step(answer: Callable[[], object]) -> tuple[str, Callable[..., object]]:
    """Return a way to run out of memory in a step."""

    def step(self: Step, batch: Batch, index: int) -> dict[str, Tensor]:
        if index == FULL_AT:
            answer()
        return STEP(self, batch, index)

    return "covary.step.Step.__call__", step


def raises(error: BaseException) -> Callable[..., object]:
    """Return a function that raises an error."""

    def function(*_: object) -> None:
        raise error

    return function


def refused_by_the_system() -> None:
    """Take more memory than the system gives to this process."""
    resource.setrlimit(resource.RLIMIT_DATA, (memory("VmData") + ROOM, resource.RLIM_INFINITY))
    torch.ones(10 * ROOM)


def reader() -> Callable[..., object]:
    """Return how a thread fills batches until memory is full."""
    filled: list[int] = []

    def fill(self: EncodedStore, rows: np.ndarray, out: Tensor) -> None:
        filled.append(len(rows))
        if len(filled) > FULL_AT:
            raise MemoryError
        FILL(self, rows, out)

    return fill


WAYS: dict[str, tuple[str, Callable[..., object]]] = {
    "Python in a step": in_step(raises(MemoryError())),
    "torch in a step": in_step(raises(RuntimeError(TORCH))),
    "a GPU in a step": in_step(raises(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))),
    "the system in a step": in_step(refused_by_the_system),
    "a thread that decodes": ("covary.data.encoded.EncodedStore.fill", reader()),
    "building the network": ("covary.training.build", raises(MemoryError())),
}

ROW = Row(
    id="C7",
    promise="Where memory is full, one line says batch, size and what to lower; the run continues from its checkpoint",
    trials={"ci": len(WAYS), "release": len(WAYS)},
    check=check,
    mutants={
        "what allocators answer is passed on": replaced("covary.training.out_of_memory", lambda error: False),
        "MemoryError alone is known": replaced(
            "covary.training.out_of_memory", lambda error: isinstance(error, MemoryError)
        ),
    },
    mutant_trials=2,
)
