"""Turns: who is called when and for how many steps; the laps of a job."""

from collections.abc import Callable, Iterator

import pytest
import torch

import covary.bench.timing
from covary.bench import Effort
from covary.bench.timing import Block, laps, steps_of, take_turns

CPU = torch.device("cpu")


def test_blocks_take_turns_after_a_warm_up() -> None:
    calls: list[tuple[str, int]] = []

    def block(name: str, seconds: float) -> Block:
        def call(count: int) -> float:
            calls.append((name, count))
            return seconds if len(calls) > 1 else 100.0  # the first call of all is a cold one

        return call

    found = take_turns({"a": block("a", 0.3), "b": block("b", 2.0)}, Effort(repeats=3, block_seconds=1.0))
    assert calls[:5] == [("a", 1), ("a", 1), ("a", 4), ("b", 1), ("b", 1)]  # b's block is one step, done already
    assert calls[5:] == [("a", 4), ("b", 1)] * 3
    assert found == {"a": (0.3,) * 3, "b": (2.0,) * 3}


def test_a_block_is_timed_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def seconds(job: Callable[[], object], device: torch.device) -> float:
        job()
        return 6.0

    monkeypatch.setattr(covary.bench.timing, "seconds", seconds)
    assert steps_of(lambda: done.append(1), CPU)(4) == 1.5
    assert len(done) == 4


def test_laps_are_the_times_between_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 2.0, 4.0, 8.0])

    def seconds(job: Callable[[], object], device: torch.device) -> float:
        job()
        return next(clock)

    def stages() -> Iterator[str]:
        done.append("a")
        yield "first"
        done.append("b")
        yield "second"
        done.append("c")

    done: list[str] = []
    monkeypatch.setattr(covary.bench.timing, "seconds", seconds)
    assert laps(stages(), CPU) == {"first": 1.0, "second": 2.0}
    assert done == ["a", "b", "c"]
