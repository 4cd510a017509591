import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from covary.errors import InputError
from covary.losses import moco_v3


def naive(queries: Tensor, keys: Tensor, temperature: float) -> float:
    """The formula with loops over rows, in Python floats."""
    q, k = (
        [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows.tolist()] for rows in (queries, keys)
    )
    total = 0.0
    for i, query in enumerate(q):
        similar = [sum(x * y for x, y in zip(query, key, strict=True)) / temperature for key in k]
        total -= math.log(math.exp(similar[i]) / sum(math.exp(s) for s in similar))
    return 2 * temperature * total / len(q)


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 7), d=st.integers(1, 5), temperature=st.floats(0.05, 3.0), seed=st.integers(0, 2**31))
def test_equals_the_formula(n: int, d: int, temperature: float, seed: int) -> None:
    q, k = torch.randn(2, n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    found = moco_v3(q, k, temperature=temperature)
    assert float(found) == pytest.approx(naive(q, k, temperature), rel=1e-9, abs=1e-9)


def test_gradient() -> None:
    q, k = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda q, k: moco_v3(q, k, temperature=0.2), (q.requires_grad_(), k.requires_grad_())
    )


def test_a_query_that_finds_its_key_costs_nothing() -> None:
    rows = torch.eye(4)
    assert float(moco_v3(rows, 5 * rows, temperature=0.02)) == pytest.approx(0, abs=1e-6)
    assert float(moco_v3(rows, rows.roll(1, 0), temperature=0.02)) == pytest.approx(2, rel=1e-3)


def test_computed_in_float32_under_autocast() -> None:
    q, k = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = moco_v3(q, k, temperature=0.2)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(naive(q.double(), k.double(), 0.2), rel=1e-5)


@pytest.mark.parametrize(("shape_q", "shape_k"), [((3, 4), (2, 4)), ((3, 4), (3, 5)), ((4,), (4,))])
def test_wrong_shapes(shape_q: tuple[int, ...], shape_k: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"moco_v3 needs two sets of the shape \(n, d\), got"):
        moco_v3(torch.ones(shape_q), torch.ones(shape_k), temperature=0.2)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_wrong_temperature(temperature: float) -> None:
    with pytest.raises(InputError, match="moco_v3 needs a temperature above 0, got"):
        moco_v3(torch.ones(2, 3), torch.ones(2, 3), temperature=temperature)
