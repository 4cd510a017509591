"""The memory of a training step and of the process that takes it."""

from collections.abc import Callable
from dataclasses import replace

import torch

from covary.bench.finding import Finding, line
from covary.bench.group import Group
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.stl import variants
from covary.meter import RESET, extra_bytes, memory
from covary.methods import AbstractConfig


def step_memory(case: Case) -> Finding:
    """Measure the peaks of a step of each of ``stl.variants``, in a process of its own, after two steps to warm up.

    ``step``: above what stood before it (``meter.extra_bytes``). ``process``: the most that the process held during the
    step, of the GPU's memory where there is one (what torch's allocator had reserved); images in memory are part of it.
    """
    if case.device.type == "cpu" and not RESET.exists():
        return Finding(notes=("This system does not tell the peak of a process's memory; Linux does.",))
    found = {}
    for name, method in variants(case).items():
        with Group(probe_of, case, method, world=1, threads=torch.get_num_threads(), device=case.device.type) as group:
            found[name] = group(case.effort.repeats)[0]
    return Finding(
        lines=tuple(
            line(f"{name} {what}", "MB", [peaks[index] / 1e6 for peaks in taken])
            for name, taken in found.items()
            for index, what in enumerate(("step", "process"))
        )
    )


def probe_of(
    device: torch.device, case: Case, method: str | AbstractConfig
) -> Callable[[int], list[tuple[float, int]]]:
    """Return what measures so many steps of a method: bytes of each and of the process during it."""
    loop = Loop(replace(case, device=device), method)
    for _ in range(2):
        loop()

    def probe(count: int) -> list[tuple[float, int]]:
        return [(extra_bytes(loop, device), _held(device)) for _ in range(count)]

    return probe


def _held(device: torch.device) -> int:
    """Return the most bytes that this process has held since ``extra_bytes`` began."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else memory("VmHWM")
