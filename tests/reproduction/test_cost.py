"""The time of a step and its memory, on runs of no size: what is counted exactly, and how turns become a ratio."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import covary.reproduction.cost
from covary.errors import InputError
from covary.meter import RESET, extra_bytes, passport
from covary.recipes import start_run
from covary.reproduction.cost import cost
from covary.run import Run
from covary.step import build

CPU = torch.device("cpu")


def tiny(row: str) -> Run:
    return replace(start_run(recipe=f"demo/{row}", image_size=8), batch_size=4)


@pytest.mark.parametrize("row", ["stl", "e-ssl", "byol-augself"])
def test_weights_and_momentum_are_those_of_the_optimiser(row: str) -> None:
    """After a step: teachers have no momentum, all else has."""
    found = cost(tiny(row), reference=tiny("simclr"), device=CPU, steps=2, warmup=1)
    method, optimizer = build(tiny(row), CPU)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    assert found.standing == sum(p.nbytes for p in method.parameters()) + sum(p.nbytes for p in trained)
    assert found.seconds > 0
    assert len(found.phases) == 3
    assert not RESET.exists() or found.peak >= 0


def test_the_ratio_is_that_of_the_medians_of_steps_taken_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    base, own, phases = [1.0, 100.0, 2.0, 4.0], [3.0, 6.0, 9.0, 600.0], [1.0, 2.0, 3.0] * 4
    turns = itertools.chain(*zip(base, own, strict=True))
    clock = itertools.chain(turns, phases)

    def seconds(job: Callable[[], object], device: torch.device) -> float:
        job()
        return next(clock)

    monkeypatch.setattr(covary.reproduction.cost, "seconds", seconds)
    found = cost(tiny("simclr"), reference=tiny("simclr"), device=CPU, steps=4, warmup=0)
    assert found.seconds == 7.5
    assert found.ratio == 7.5 / 3.0
    assert found.phases == (1.0, 2.0, 3.0)
    low, high = found.quartiles
    assert low < 3.0 < high
    assert list(clock) == []


def test_one_step_is_refused() -> None:
    with pytest.raises(InputError, match=r"^steps is 1; expected 2 or more\.$"):
        cost(tiny("simclr"), reference=tiny("simclr"), device=CPU, steps=1, warmup=0)


@pytest.mark.skipif(not RESET.exists(), reason="this system does not tell the peak of memory")
def test_the_peak_of_memory_is_that_of_the_job_alone() -> None:
    before = torch.ones(40, 1024, 1024 // 4)
    before.sum()
    extra = extra_bytes(lambda: torch.ones(30, 1024, 1024).sum(), CPU)
    assert 110e6 < extra < 160e6  # 30 times 4 MiB


def test_the_peak_is_no_number_where_the_system_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covary.meter.RESET", RESET / "absent")
    done = []
    assert extra_bytes(lambda: done.append(1), CPU) != extra_bytes(lambda: done.append(1), CPU)  # nan
    assert len(done) == 2


def test_the_passport_says_where_and_with_what() -> None:
    assert passport(CPU).keys() == {"device", "threads", "torch", "covary", "commit"}
