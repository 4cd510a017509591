import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from covary.errors import InputError
from covary.losses import same_or_not, squared_error, turns

OF_NUMBERS = [squared_error, same_or_not]


def naive_squared_error(predicted: Tensor, label: Tensor) -> float:
    pairs = list(zip(predicted.flatten().tolist(), label.flatten().tolist(), strict=True))
    return sum((p - y) ** 2 for p, y in pairs) / len(pairs)


def naive_same_or_not(logits: Tensor, label: Tensor) -> float:
    total, pairs = 0.0, list(zip(logits.flatten().tolist(), label.flatten().tolist(), strict=True))
    for x, y in pairs:
        yes = 1 / (1 + math.exp(-x))
        total -= y * math.log(yes) + (1 - y) * math.log(1 - yes)
    return total / len(pairs)


def naive_turns(logits: Tensor, turn: Tensor) -> float:
    total = 0.0
    for row, k in zip(logits.tolist(), turn.tolist(), strict=True):
        total -= math.log(math.exp(row[int(k)]) / sum(math.exp(x) for x in row))
    return total / len(logits)


def drawn(n: int, d: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Predictions (n, d), labels (n, d) of 0 and 1, turns (n,)."""
    generator = torch.Generator().manual_seed(seed)
    predicted = torch.randn(n, d, dtype=torch.float64, generator=generator)
    label = torch.randint(0, 2, (n, d), generator=generator).double()
    return predicted, label, torch.randint(0, 4, (n,), generator=generator)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 7), d=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_equals_the_formula(n: int, d: int, seed: int) -> None:
    predicted, label, turn = drawn(n, d, seed)
    found = squared_error(predicted, label - 0.3)
    assert float(found) == pytest.approx(naive_squared_error(predicted, label - 0.3), rel=1e-9)
    assert float(same_or_not(predicted, label)) == pytest.approx(naive_same_or_not(predicted, label), rel=1e-9)
    logits = torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for whole in (turn, turn.float()):
        assert float(turns(logits, whole)) == pytest.approx(naive_turns(logits, turn), rel=1e-9)


def test_gradient() -> None:
    predicted, label, turn = drawn(5, 4, 0)
    predicted.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: squared_error(x, label), predicted)
    assert torch.autograd.gradcheck(lambda x: same_or_not(x, label), predicted)
    assert torch.autograd.gradcheck(lambda x: turns(x, turn), predicted)


@pytest.mark.parametrize("loss", OF_NUMBERS)
def test_a_label_that_is_nan_makes_the_loss_nan(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    predicted, label, _ = drawn(5, 3, 0)
    assert loss(predicted, label).isfinite()
    label[2, 1] = math.nan
    assert loss(predicted, label).isnan()


@pytest.mark.parametrize("wrong", [math.nan, -1.0, 4.0, -100.0, 0.5])
def test_a_turn_that_is_none_of_the_four_makes_the_loss_nan(wrong: float) -> None:
    logits, _, turn = drawn(5, 4, 0)
    turn = turn.float()
    assert turns(logits, turn).isfinite()
    turn[2] = wrong
    assert turns(logits, turn).isnan()


def test_computed_in_float32_under_autocast() -> None:
    predicted, label, turn = drawn(8, 4, 0)
    half, label = predicted.bfloat16(), label.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = [squared_error(half, label), same_or_not(half, label), turns(half, turn)]
    predicted, label = half.double(), label.double()
    expected = [
        naive_squared_error(predicted, label),
        naive_same_or_not(predicted, label),
        naive_turns(predicted, turn),
    ]
    assert [number.dtype for number in found] == 3 * [torch.float32]
    assert [float(number) for number in found] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", OF_NUMBERS)
@pytest.mark.parametrize(("shape_a", "shape_b"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_wrong_shapes(
    loss: Callable[[Tensor, Tensor], Tensor], shape_a: tuple[int, ...], shape_b: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=rf"{loss.__name__} needs two sets of the shape \(n, d\), got"):
        loss(torch.ones(shape_a), torch.ones(shape_b))


@pytest.mark.parametrize(
    ("shape_logits", "shape_turn"), [((3, 5), (3,)), ((3, 4), (2,)), ((3, 4), (3, 1)), ((4,), (4,))]
)
def test_wrong_shapes_of_turns(shape_logits: tuple[int, ...], shape_turn: tuple[int, ...]) -> None:
    with pytest.raises(
        InputError, match=r"turns needs logits of the shape \(n, 4\) and turns of the shape \(n,\), got"
    ):
        turns(torch.ones(shape_logits), torch.ones(shape_turn))
