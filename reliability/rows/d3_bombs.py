"""D3: a weights file that is small on the disk and huge in memory is refused before the memory is taken.

Each file is read in a forked child whose address space has room for three times the file and ``ROOM``, by covary and by
``torch.load(weights_only=True)`` with a walk through the dictionaries, which must run out.
"""

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from covary.errors import InputError
from covary.evaluation import weights
from reliability.forked import outcomes, peak_of
from reliability.row import Count, Figure, Row, replaced
from reliability.weight_bombs import BOMBS

ROOM = 64 * 2**20  # bytes of address space beyond three times the file
SLACK = 24 * 2**20  # bytes held beyond three times the file, whatever is in it


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Read bombs of growing size."""
    count, most = Count(), 0
    for trial in range(trials):
        kind = list(BOMBS)[trial % len(BOMBS)]
        file = folder / f"{trial}{'.safetensors' if kind.startswith('safetensors') else '.pt'}"
        file.write_bytes(BOMBS[kind](80 + seed + trial))
        size = 3 * file.stat().st_size
        (ours,) = outcomes(lambda _, file=file: attempt(partial(weights.read, file)), 1, room=size + ROOM)
        (naive,) = outcomes(lambda _, file=file: attempt(partial(naively, file)), 1, room=size + ROOM)
        file.unlink()
        most = max(most, ours.get("held", 0))
        held = ours.get("raised") == InputError.__name__ and ours["held"] <= size + SLACK
        fired = naive.get("raised") is not None or "died" in naive or naive["held"] > size + SLACK
        count.add(f"{kind}, {trial}", held=held, fired=fired, seen=(ours, naive))
    return count.figure(kinds=len(BOMBS), most_megabytes=round(most / 1e6, 1))


def attempt(read: Callable[[], object]) -> dict[str, Any]:
    """Read; return the kind of error and by how many bytes memory grew."""
    raised: list[str] = []

    def job() -> None:
        try:
            read()
        except Exception as error:  # which it is, is what is asked
            raised.append(type(error).__name__)

    return {"held": peak_of(job), "raised": raised[0] if raised else None}


def naively(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a file as it says."""
    found = _load(path) if path.suffix == ".pt" else safetensors.torch.load_file(path)
    return {name: tensor.contiguous() for name, tensor in _flat(found, "")}


def _load(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def load_somehow(path: Path) -> Any:
    """Read tensors, and where that fails whatever there is."""
    with warnings.catch_warnings(action="ignore"):
        try:
            return _load(path)
        except Exception:  # what the naive do
            return torch.load(path, map_location="cpu", weights_only=False)


def _flat(content: object, place: str) -> list[tuple[str, torch.Tensor]]:
    if isinstance(content, torch.Tensor):
        return [(place, content)]
    inside = content.items() if isinstance(content, Mapping) else ()
    return [found for key, value in inside for found in _flat(value, f"{place}.{key}")]


ROW = Row(
    id="D3",
    promise="A weights file that would grow in memory is refused before it does, by what it declares",
    trials={"ci": 2 * len(BOMBS), "release": 20 * len(BOMBS)},
    check=check,
    mutants={
        "weights_only=False where True fails": replaced("covary.evaluation.pickled.load", load_somehow),
        "no limit of the process": replaced("covary.evaluation.pickled._limited", lambda growth: nullcontext()),
        "any number of tensors": replaced(
            "covary.evaluation.weights._flatten", lambda content: dict(_flat(content, ""))
        ),
    },
    mutant_trials=len(BOMBS),
)
