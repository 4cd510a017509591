"""What several processes on this machine make of the same batch."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from covary.bench.finding import Finding, rate, ratio
from covary.bench.group import Group
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.timing import Block, steps_of, take_turns


def processes(case: Case) -> Finding:
    """Measure SimCLR's step by one process with all threads, one with its share of them, and n with a share each.

    The batch is that of the whole setting each time. ``efficiency`` is the images a second of n processes in multiples
    of n times those of the one with its share.
    """
    count, threads = case.effort.processes, torch.get_num_threads()
    if case.device.type == "cuda" and torch.cuda.device_count() < count:
        return Finding(notes=(f"{count} processes need {count} GPUs; there is {torch.cuda.device_count()}.",))
    case.run().check_world(count)
    share = max(1, threads // count)
    with (
        Group(block_of, case, world=1, threads=threads, device=case.device.type) as alone,
        Group(block_of, case, world=1, threads=share, device=case.device.type) as one,
        Group(block_of, case, world=count, threads=share, device=case.device.type) as many,
    ):
        groups = {"alone": alone, "share": one, "together": many}
        seconds = take_turns({name: slowest(group) for name, group in groups.items()}, case.effort)
    batch, ideal = case.setting.batch, [each / count for each in seconds["share"]]
    return Finding(
        lines=(
            rate(f"1 process with all threads ({threads})", batch, seconds["alone"]),
            rate(f"1 process with its share ({share})", batch, seconds["share"]),
            rate(f"{count} processes with a share each ({share})", batch, seconds["together"]),
            ratio("efficiency", ideal, seconds["together"]),
        ),
        seconds=seconds,
    )


def block_of(device: torch.device, case: Case) -> Block:
    """Return the block of a process that trains: SimCLR's steps on its share of the batch."""
    case = replace(case, device=device)
    return steps_of(Loop(case), device)


def slowest(group: Callable[[int], list[float]]) -> Block:
    """Return the block of processes that take steps together: the time of the one that takes longest."""
    return lambda count: max(group(count), default=math.nan)
