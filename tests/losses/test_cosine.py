import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from covary.errors import InputError
from covary.losses import negative_cosine, normalized_mse

LOSSES = [negative_cosine, normalized_mse]


def naive_cosine(a: Tensor, b: Tensor) -> float:
    total = 0.0
    for p, q in zip(a.tolist(), b.tolist(), strict=True):
        dot = sum(x * y for x, y in zip(p, q, strict=True))
        total -= dot / math.sqrt(sum(x * x for x in p)) / math.sqrt(sum(y * y for y in q))
    return total / len(a)


def naive_mse(a: Tensor, b: Tensor) -> float:
    total = 0.0
    for p, q in zip(a.tolist(), b.tolist(), strict=True):
        length_p, length_q = (math.sqrt(sum(x * x for x in row)) for row in (p, q))
        total += sum((x / length_p - y / length_q) ** 2 for x, y in zip(p, q, strict=True))
    return total / len(a)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 7), d=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_equals_the_formula(n: int, d: int, seed: int) -> None:
    a, b = torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert float(negative_cosine(a, b)) == pytest.approx(naive_cosine(a, b), rel=1e-9, abs=1e-9)
    assert float(normalized_mse(a, b)) == pytest.approx(naive_mse(a, b), rel=1e-9, abs=1e-9)
    assert float(normalized_mse(a, b)) == pytest.approx(2 + 2 * float(negative_cosine(a, b)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    a, b = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))


def test_ends_of_the_range() -> None:
    a = torch.tensor([[3.0, 4.0], [-1.0, 0.0]])
    for other, cosine, distance in ((2 * a, -1, 0), (-a, 1, 4), (torch.zeros(2, 2), 0, 1)):
        assert float(negative_cosine(a, other)) == pytest.approx(cosine)
        assert float(normalized_mse(a, other)) == pytest.approx(distance)


def test_gradient_of_a_row_of_zeros_is_finite() -> None:
    for loss in LOSSES:
        a = torch.zeros(1, 3, requires_grad=True)
        loss(a, torch.ones(1, 3)).backward()
        assert a.grad is not None
        assert a.grad.isfinite().all()


@pytest.mark.parametrize(("loss", "naive"), [(negative_cosine, naive_cosine), (normalized_mse, naive_mse)])
def test_computed_in_float32_under_autocast(
    loss: Callable[[Tensor, Tensor], Tensor], naive: Callable[[Tensor, Tensor], float]
) -> None:
    a, b = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(a, b)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(naive(a.double(), b.double()), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("shape_a", "shape_b"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_wrong_shapes(
    loss: Callable[[Tensor, Tensor], Tensor], shape_a: tuple[int, ...], shape_b: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=rf"{loss.__name__} needs two sets of the shape \(n, d\), got"):
        loss(torch.ones(shape_a), torch.ones(shape_b))
