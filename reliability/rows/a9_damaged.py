"""A9: damage to the newest checkpoint is seen, whatever the damage, and the one before it is taken."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch

from covary.checkpoint import Checkpoint
from covary.rundir import RunDir
from reliability.row import Count, Figure, Row, replaced


def tensors(value: int) -> dict[str, torch.Tensor]:
    """A small state whose every number tells which step it is of."""
    return {"a": torch.full((40, 2), float(value)), "b": torch.full((9,), value), "step": torch.tensor(value)}


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Flip, cut, lengthen, empty, replace or remove a file of the newest checkpoint; read what is left."""
    draw, count = random.Random(seed), Count()
    run = RunDir(folder)
    run.save_checkpoint(1, tensors(1), {"epoch": 0})
    run.save_checkpoint(2, tensors(2), {"epoch": 1})
    files = sorted((folder / "checkpoints" / "step-2").iterdir())
    for _ in range(trials):
        file = draw.choice(files)
        content = file.read_bytes()
        with damaged(file, content, draw) as kind:
            try:
                found, lines = run.newest_checkpoint()
            except Exception as error:  # any error that leaves the function is a failure of this trial
                count.add(f"{kind} of {file.name}", held=False, seen=repr(error))
                continue
        fell_back = found is not None and found.step == 1 and len(lines) == 1 and same(found, 1)
        unharmed = found is not None and found.step == 2 and same(found, 2)  # white space of the manifest
        count.add(f"{kind} of {file.name}", held=fell_back or unharmed, seen=lines)
    return count.figure()


def same(checkpoint: Checkpoint, value: int) -> bool:
    """Whether a checkpoint holds exactly the tensors that were saved for a step."""
    expected = tensors(value)
    return checkpoint.tensors.keys() == expected.keys() and all(
        torch.equal(checkpoint.tensors[name], tensor) for name, tensor in expected.items()
    )


@contextmanager
def damaged(file: Path, content: bytes, draw: random.Random) -> Iterator[str]:
    """Damage a file for the length of a block, whose value is the kind of damage."""
    kind = draw.choice(("flip", "flip", "flip", "cut", "lengthen", "zeros", "empty", "remove", "other JSON"))
    place = draw.randrange(len(content))
    changed = bytearray(content)
    match kind:
        case "flip":
            changed[place] ^= 1 << draw.randrange(8)
        case "cut":
            del changed[place:]
        case "lengthen":
            changed += draw.randbytes(1 + place)
        case "zeros":
            end = min(len(changed), place + 16)
            changed[place:end] = bytes(end - place) if any(changed[place:end]) else b"\1" * (end - place)
        case "other JSON":
            changed[:] = draw.choice((b"1", b"null", b"true", b'"a"', b"[]", b"{}"))
        case _:
            changed.clear()
    file.unlink() if kind == "remove" else file.write_bytes(changed)
    try:
        yield kind
    finally:
        file.write_bytes(content)


def unverified(folder: Path, step: int) -> Checkpoint:
    """Read a checkpoint as most libraries do: whatever can be parsed is taken."""
    return Checkpoint(step=step, tensors=safetensors.torch.load((folder / "state.safetensors").read_bytes()), meta={})


ROW = Row(
    id="A9",
    promise="Damage to the newest checkpoint is seen and the one before it is taken, never a traceback",
    trials={"ci": 10_000, "release": 50_000},
    check=check,
    mutants={"no manifest": replaced("covary.rundir.read_checkpoint", unverified)},
    mutant_trials=300,
)
