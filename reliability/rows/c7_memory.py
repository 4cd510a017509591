"""C7: where memory is full in the middle of a run, one line says what to change, and the run goes on from its checkpoint.

Exit code 1, as of every run that cannot go on.
"""

import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from covary.data.encoded import EncodedStore
from covary.meter import memory
from covary.rundir import RunDir
from covary.step import Step
from reliability.children import forked
from reliability.commands import TINY, Answer, command
from reliability.pictures import folder_of
from reliability.row import Count, Figure, Row, replaced

STEP = 3  # of four, at which memory is full: a checkpoint is there after each
ROOM = 64_000_000  # bytes that a process may still take, where the system refuses the rest
LIMIT = 60.0
SAYS = ("covary: The memory is too small for batches of 4 images of 8 px", "lower --batch-size", "--accumulate")


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Run a child out of memory in every way, then let another continue."""
    count = Count()
    os.chdir(folder)
    folder_of(Path("data"), 8)
    train("whole")
    train("whole-encoded", "--residence", "encoded")
    whole = Path("whole/encoder.safetensors").read_bytes()
    for name, (exhaust, options) in list(WAYS.items())[:trials]:
        end = forked(lambda exhaust=exhaust, options=options: exhausted(exhaust, *options), limit=LIMIT)
        code, err, fired = end.value or (end.code, end.said, False)
        said = code == 1 and err.count("\n") == 1 + err[: err.index(SAYS[0])].count("\n") if SAYS[0] in err else False
        checkpoint, damaged = RunDir(Path("out")).newest_checkpoint()
        intact = not damaged and (checkpoint.step if checkpoint else 0) == (STEP - 1 if options else 0)
        forked(lambda options=options: train("out", *options).code, limit=LIMIT)
        continued = Path("out/encoder.safetensors").exists() and Path("out/encoder.safetensors").read_bytes() == whole
        count.add(name, held=bool(said) and intact and continued, fired=fired, seen=(code, err, intact, continued))
        shutil.rmtree("out")
    return count.figure()
