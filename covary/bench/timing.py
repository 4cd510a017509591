"""Jobs that take turns: A B C A B C ..., so that a busy moment of the machine meets all of them."""

import math
from collections.abc import Callable, Iterator, Mapping

import torch

from covary.bench.settings import Effort
from covary.meter import seconds

Block = Callable[[int], float]
"""Takes so many steps and returns the seconds of one of them."""


def steps_of(job: Callable[[], object], device: torch.device) -> Block:
    """Return a job as a block: so many calls, timed as a whole until the device is done."""

    def block(count: int) -> float:
        return seconds(lambda: [job() for _ in range(count)], device) / count

    return block


def take_turns(blocks: Mapping[str, Block], effort: Effort) -> dict[str, tuple[float, ...]]:
    """Return for each name the seconds of a step in each of ``effort.repeats`` rounds.

    A block has as many steps as fill ``effort.block_seconds``, at least one. Before the rounds each takes a step to
    warm up, a step to find out how long one is, and a whole block where that is more than a step; none of them counts.
    """
    counts = {name: warm_up(block, effort.block_seconds) for name, block in blocks.items()}
    rounds = [{name: block(counts[name]) for name, block in blocks.items()} for _ in range(effort.repeats)]
    return {name: tuple(each[name] for each in rounds) for name in blocks}


def warm_up(block: Block, block_seconds: float) -> int:
    """Warm a block up; return how many steps it is to have (``take_turns``)."""
    block(1)
    count = max(1, math.ceil(block_seconds / block(1)))
    if count > 1:
        block(count)
    return count


def laps(stages: Iterator[str], device: torch.device) -> dict[str, float]:
    """Return the seconds of each stage of a job that yields a stage's name when it has asked for the last of it."""
    found: dict[str, float] = {}
    asked = ""

    def ask() -> None:
        nonlocal asked
        asked = next(stages, "")

    while (took := seconds(ask, device)) and asked:
        found[asked] = took
    return found
