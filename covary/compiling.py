"""Whether a run's method is compiled: as asked, or as measured on the method itself before the first step."""

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from covary import dist
from covary.errors import InputError
from covary.methods import AbstractMethod
from covary.run import Run
from covary.step import backward
from covary.types import Views

LEAST_STEPS = 1000  # a run of fewer is not timed at all
LEAST_SECONDS = 6000.0  # a run of fewer is not compiled on trial: a vain trial, of two minutes or so, takes 2 % of them
GAIN = 0.02  # share of a step's time that compiling must save
ROUNDS = 9  # steps of each kind that are timed, in turn


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether the method is compiled, and why, as a line to print."""

    compile: Literal["on", "off"]
    reason: str


def choose_compile(
    run: Run, method: AbstractMethod, views: Callable[[], Views], *, device: torch.device, steps: int
) -> Choice:
    """Return whether to compile the method of a run that is about to take its first of ``steps`` steps.

    With ``auto`` it is compiled where that makes forward and backward at least 2 % faster, medians of interleaved
    repetitions on a copy of the method; a run that is too short for the trial is left as it is. The main process
    decides for all of them.

    views: makes those of the first batch; called where something is timed.
    Raises InputError where compiling is asked for and this machine cannot.
    """
    if run.compile == "off":
        return Choice(compile="off", reason="not compiled: as asked")
    if run.compile == "on":
        _check_compiler(device)
        return Choice(compile="on", reason="compiled: as asked")
    if steps < LEAST_STEPS:
        return Choice(compile="off", reason=f"not compiled: {steps:,} steps are too few to earn it back")
    return _measured(run, method, views(), device=device, steps=steps)


def _measured(run: Run, method: AbstractMethod, views: Views, *, device: torch.device, steps: int) -> Choice:
    twin = copy.deepcopy(method).train()

    def seconds(module: nn.Module) -> float:
        start = _now(device)
        backward(run, module, views)
        passed = _now(device) - start
        twin.zero_grad()
        return passed

    seconds(twin)  # starts libraries
    run_seconds = steps * statistics.median(seconds(twin) for _ in range(ROUNDS))
    if _main_says(run_seconds < LEAST_SECONDS):
        minutes = f"{run_seconds / 60:,.0f} of at least {LEAST_SECONDS / 60:,.0f} min"
        return Choice(compile="off", reason=f"not compiled: the run is too short to earn it back ({minutes})")
    compiled = cast(nn.Module, torch.compile(twin, dynamic=False))
    failure = _failure(lambda: seconds(compiled))
    if dist.any_rank(failure is not None):
        return Choice(
            compile="off", reason=f"not compiled: torch.compile fails here ({failure or 'in another process'})"
        )
    timed = [(seconds(twin), seconds(compiled)) for _ in range(ROUNDS)]
    without, with_it = (statistics.median(times) for times in zip(*timed, strict=True))
    on = _main_says(with_it < (1 - GAIN) * without)
    figures = f"forward and backward take {with_it * 1e3:,.1f} ms compiled, {without * 1e3:,.1f} ms as they are"
    return Choice(compile="on" if on else "off", reason=f"{'' if on else 'not '}compiled: {figures}")


def _check_compiler(device: torch.device) -> None:
    number = torch.ones(2, device=device)
    if failure := _failure(lambda: torch.compile(torch.exp, dynamic=False)(number)):
        raise InputError(f"torch.compile fails on this machine ({failure}); leave out --compile on.")


def _failure(compiles: Callable[[], object]) -> str | None:
    """Return in a line why compiling fails, None where it does not; compilers raise anything."""
    try:
        compiles()
    except Exception as error:
        return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
    return None


def _main_says(flag: bool) -> bool:
    return dist.any_rank(dist.is_main() and flag)


def _now(device: torch.device) -> float:
    """Return the time at which the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
