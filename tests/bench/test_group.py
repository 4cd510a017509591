"""Processes that are told what to do and answer."""

from collections.abc import Callable

import pytest
import torch

from covary import dist
from covary.bench.group import Group
from covary.errors import InputError


def adder(device: torch.device, first: int) -> Callable[[int], tuple[int, int, float, str]]:
    def answer(told: int) -> tuple[int, int, float, str]:
        total = dist.all_reduce_sum(torch.tensor(float(first + told + dist.rank())))
        return dist.rank(), dist.world_size(), float(total), device.type

    return answer


def failing(device: torch.device) -> Callable[[object], object]:
    def answer(told: object) -> object:
        raise SystemExit(3)

    return answer


def refusing(device: torch.device) -> Callable[[object], object]:
    raise InputError("a mistake")


def test_all_are_told_the_same_and_answer_by_rank() -> None:
    with Group(adder, 10, world=2, threads=1, device="cpu") as group:
        assert group(1) == [(0, 2, 23.0, "cpu"), (1, 2, 23.0, "cpu")]
        assert group(2) == [(0, 2, 25.0, "cpu"), (1, 2, 25.0, "cpu")]


def test_one_is_no_group() -> None:
    with Group(adder, 0, world=1, threads=1, device="cpu") as group:
        assert group(5) == [(0, 1, 5.0, "cpu")]


def test_an_end_is_said() -> None:
    with (
        pytest.raises(RuntimeError, match=r"^A process that was measured has ended; what it said is above\.$"),
        Group(failing, world=1, threads=1, device="cpu") as group,
    ):
        group(0)


def test_an_error_is_passed_on() -> None:
    with (
        pytest.raises(InputError, match=r"^a mistake$"),
        Group(refusing, world=1, threads=1, device="cpu") as group,
    ):
        group(0)
