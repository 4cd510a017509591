import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from covary.errors import InputError
from covary.losses import covariance, variance, vicreg

OF_ONE = [variance, covariance]


def naive_covariance_of(z: Tensor, j: int, k: int) -> float:
    n = len(z)
    p, q = z[:, j].tolist(), z[:, k].tolist()
    mean_p, mean_q = sum(p) / n, sum(q) / n
    return sum((x - mean_p) * (y - mean_q) for x, y in zip(p, q, strict=True)) / (n - 1)


def naive_variance(z: Tensor) -> float:
    d = z.shape[1]
    return sum(max(0.0, 1 - math.sqrt(naive_covariance_of(z, j, j) + 1e-4)) for j in range(d)) / d


def naive_covariance(z: Tensor) -> float:
    d = z.shape[1]
    return sum(naive_covariance_of(z, j, k) ** 2 for j in range(d) for k in range(d) if j != k) / d


def naive_vicreg(a: Tensor, b: Tensor, weights: tuple[float, float, float]) -> float:
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    terms = (
        sum((x - y) ** 2 for x, y in pairs) / len(pairs),
        (naive_variance(a) + naive_variance(b)) / 2,
        naive_covariance(a) + naive_covariance(b),
    )
    return sum(weight * term for weight, term in zip(weights, terms, strict=True))


WEIGHT = st.floats(0, 30)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(2, 7),
    d=st.integers(1, 5),
    spread=st.floats(0.1, 2),
    weights=st.tuples(WEIGHT, WEIGHT, WEIGHT),
    seed=st.integers(0, 2**31),
)
def test_equals_the_formula(n: int, d: int, spread: float, weights: tuple[float, float, float], seed: int) -> None:
    a, b = 3 + spread * torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert float(variance(a)) == pytest.approx(naive_variance(a), rel=1e-9, abs=1e-9)
    assert float(covariance(a)) == pytest.approx(naive_covariance(a), rel=1e-9, abs=1e-9)
    found = vicreg(a, b, invariance=weights[0], variance=weights[1], covariance=weights[2])
    assert float(found) == pytest.approx(naive_vicreg(a, b, weights), rel=1e-9, abs=1e-9)


def test_the_published_weights() -> None:
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert float(vicreg(a, b)) == pytest.approx(naive_vicreg(a, b, (25, 25, 1)), rel=1e-9)


def test_gradient() -> None:
    a, b = 0.7 * torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a.requires_grad_()
    for loss in OF_ONE:
        assert torch.autograd.gradcheck(loss, a)
    assert torch.autograd.gradcheck(vicreg, (a, b.requires_grad_()))


def test_a_collapsed_column_has_a_finite_gradient() -> None:
    a = torch.full((4, 2), 0.5, requires_grad=True)
    loss = variance(a)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.99)
    assert a.grad is not None
    assert a.grad.isfinite().all()


def test_computed_in_float32_under_autocast() -> None:
    a, b = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = [variance(a), covariance(a), vicreg(a, b)]
    a, b = a.double(), b.double()
    expected = [naive_variance(a), naive_covariance(a), naive_vicreg(a, b, (25, 25, 1))]
    assert [number.dtype for number in found] == 3 * [torch.float32]
    assert [float(number) for number in found] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("shape_a", "shape_b"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_wrong_shapes(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"vicreg needs two sets of the shape \(n, d\), got"):
        vicreg(torch.ones(shape_a), torch.ones(shape_b))


@pytest.mark.parametrize("loss", OF_ONE)
def test_wrong_shape(loss: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match=rf"{loss.__name__} needs a set of the shape \(n, d\), got \(4,\)"):
        loss(torch.ones(4))


@pytest.mark.parametrize("loss", [*OF_ONE, lambda z: vicreg(z, z)])
def test_one_row_has_no_variance(loss: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match="needs 2 rows or more in all processes together, got 1"):
        loss(torch.ones(1, 3))


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["invariance", "variance", "covariance"])
def test_wrong_weight(name: str, weight: float) -> None:
    with pytest.raises(InputError, match=f"vicreg needs a weight '{name}' of 0 or more, got"):
        vicreg(torch.ones(2, 3), torch.ones(2, 3), **{name: weight})
