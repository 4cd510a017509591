import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from covary.errors import InputError
from covary.losses import barlow_twins


def naive(a: Tensor, b: Tensor, weight: float) -> float:
    """The formula with loops over columns and rows, in Python floats."""
    n, d = a.shape

    def column(x: Tensor, j: int) -> list[float]:
        values = x[:, j].tolist()
        mean = sum(values) / n
        variance = sum((value - mean) ** 2 for value in values) / n
        return [(value - mean) / math.sqrt(variance + 1e-5) for value in values]

    total = 0.0
    for j in range(d):
        for k in range(d):
            correlation = sum(p * q for p, q in zip(column(a, j), column(b, k), strict=True)) / n
            total += (1 - correlation) ** 2 if j == k else weight * correlation**2
    return total


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 7), d=st.integers(1, 5), weight=st.floats(0, 2), seed=st.integers(0, 2**31))
def test_equals_the_formula(n: int, d: int, weight: float, seed: int) -> None:
    a, b = 3 + 2 * torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert float(barlow_twins(a, b, off_diagonal=weight)) == pytest.approx(naive(a, b, weight), rel=1e-9, abs=1e-9)


def test_the_published_weight() -> None:
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(barlow_twins(a, b)) == pytest.approx(naive(a, b, 0.0051), rel=1e-9)


def test_gradient() -> None:
    a, b = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda a, b: barlow_twins(a, b, off_diagonal=0.3), (a.requires_grad_(), b.requires_grad_())
    )


def test_blind_to_scale_shift_and_order() -> None:
    a, b = torch.randn(2, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss, order = barlow_twins(a, b), torch.tensor([3, 0, 4, 1, 2, 5])
    for other in (barlow_twins(b, a), barlow_twins(7 * a + 1, b / 3 - 2), barlow_twins(a[order], b[order])):
        assert torch.allclose(other, loss, rtol=1e-4)


def test_a_collapsed_column_costs_1_and_has_a_finite_gradient() -> None:
    a = torch.full((4, 2), 0.5, requires_grad=True)
    loss = barlow_twins(a, torch.randn(4, 2, generator=torch.Generator().manual_seed(0)))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2)
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_computed_in_float32_under_autocast() -> None:
    a, b = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = barlow_twins(a, b)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(naive(a.double(), b.double(), 0.0051), rel=1e-5)


@pytest.mark.parametrize(("shape_a", "shape_b"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_wrong_shapes(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"barlow_twins needs two sets of the shape \(n, d\), got"):
        barlow_twins(torch.ones(shape_a), torch.ones(shape_b))


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_wrong_weight(weight: float) -> None:
    with pytest.raises(InputError, match="barlow_twins needs a weight 'off_diagonal' of 0 or more, got"):
        barlow_twins(torch.ones(2, 3), torch.ones(2, 3), off_diagonal=weight)
