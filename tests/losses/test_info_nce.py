import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from covary.errors import InputError
from covary.losses import info_nce


def naive(a: Tensor, b: Tensor, temperature: float) -> float:
    """The formula with loops over rows, in Python floats."""
    n = len(a)
    z = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in [*a.tolist(), *b.tolist()]]
    similar = [[sum(x * y for x, y in zip(p, q, strict=True)) / temperature for q in z] for p in z]
    total = 0.0
    for i in range(2 * n):
        positive = i + n if i < n else i - n
        total -= math.log(math.exp(similar[i][positive]) / sum(math.exp(similar[i][j]) for j in range(2 * n) if j != i))
    return total / (2 * n)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 7), d=st.integers(1, 5), temperature=st.floats(0.05, 3.0), seed=st.integers(0, 2**31))
def test_equals_the_formula(n: int, d: int, temperature: float, seed: int) -> None:
    a, b = torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = info_nce(a, b, temperature=temperature)
    assert float(found) == pytest.approx(naive(a, b, temperature), rel=1e-9, abs=1e-9)


def test_gradient() -> None:
    a, b = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a.requires_grad_()
    b.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, temperature=0.2), (a, b))


def test_symmetric_and_blind_to_length_and_order() -> None:
    a, b = torch.randn(2, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss, order = info_nce(a, b, temperature=0.2), torch.tensor([3, 0, 4, 1, 2])
    for other in (
        info_nce(b, a, temperature=0.2),
        info_nce(7 * a, b / 3, temperature=0.2),
        info_nce(a[order], b[order], temperature=0.2),
    ):
        assert torch.allclose(other, loss, rtol=1e-12)


def test_one_pair_has_no_negatives() -> None:
    assert info_nce(torch.ones(1, 3), torch.ones(1, 3), temperature=0.2) == 0


def test_computed_in_float32_under_autocast() -> None:
    a, b = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = info_nce(a, b, temperature=0.2)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(naive(a.double(), b.double(), 0.2), rel=1e-5)


@pytest.mark.parametrize(("shape_a", "shape_b"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_wrong_shapes(shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"two sets of the shape \(n, d\)"):
        info_nce(torch.ones(shape_a), torch.ones(shape_b), temperature=0.2)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_wrong_temperature(temperature: float) -> None:
    with pytest.raises(InputError, match="a temperature above 0, got"):
        info_nce(torch.ones(2, 3), torch.ones(2, 3), temperature=temperature)
