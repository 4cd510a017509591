from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from covary.nets import LinearHypernetwork, hypernetwork


def naive(code: Tensor, features: Tensor, weight: Tensor) -> Tensor:
    """The form that builds one matrix per row: W(t) = reshape(weight t), moved = W(t) y."""
    d = features.shape[1]
    return torch.stack([(weight @ t).reshape(d, d) @ y for t, y in zip(code, features, strict=True)])


def inputs(b: int, k: int, d: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, LinearHypernetwork]:
    torch.manual_seed(0)
    network = LinearHypernetwork(code_dim=k, features=d).to(dtype)
    return torch.randn(b, k, dtype=dtype).requires_grad_(), torch.randn(b, d, dtype=dtype).requires_grad_(), network


@pytest.mark.parametrize(("b", "k", "d"), [(4, 3, 5), (1, 3, 5), (7, 1, 4), (3, 4, 1), (0, 3, 5)])
@pytest.mark.parametrize("chunk", [1, 20, 10**6])
def test_equals_the_form_with_matrices(b: int, k: int, d: int, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypernetwork, "CHUNK", chunk)
    code, features, network = inputs(b, k, d)
    leaves = (code, features, network.weight)
    found = network(code, features)
    expected = naive(*leaves) if b else torch.zeros(0, d, dtype=torch.float64)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    if b:
        direction = torch.randn_like(found)
        for mine, twin in zip(
            torch.autograd.grad(found, leaves, direction), torch.autograd.grad(expected, leaves, direction), strict=True
        ):
            assert torch.allclose(mine, twin, rtol=1e-12, atol=1e-12)


def test_gradient_by_finite_differences() -> None:
    code, features, network = inputs(3, 2, 4)
    assert torch.autograd.gradcheck(
        lambda *x: torch.func.functional_call(network, {"weight": x[2]}, x[:2]),
        (
            code,
            features,
            network.weight,
        ),
    )


def test_layout_and_start_are_those_of_a_linear_layer() -> None:
    torch.manual_seed(0)
    network = LinearHypernetwork(code_dim=3, features=5)
    torch.manual_seed(0)
    linear = nn.Linear(3, 25, bias=False)
    assert torch.equal(network.weight, linear.weight)
    assert list(network.state_dict()) == ["weight"]


def test_backward_keeps_the_inputs_only() -> None:
    code, features, network = inputs(8, 6, 16)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        network(code, features)
    own = {x.data_ptr() for x in (code, features, network.weight)}
    assert {x.data_ptr() for x in kept} <= own


def test_bfloat16_under_autocast() -> None:
    code, features, network = inputs(8, 6, 16, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        moved = network(code, features)
    moved.float().sum().backward()
    assert moved.dtype == torch.bfloat16
    assert network.weight.grad is not None
    assert network.weight.grad.dtype == torch.float32
    exact = naive(code.double(), features.double(), network.weight.double())
    assert (moved.double() - exact).abs().max() <= 0.02 * exact.abs().max()


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers in any one tensor that an operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


def test_no_matrix_per_row_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    b, k, d = 64, 4, 16
    monkeypatch.setattr(hypernetwork, "CHUNK", b * k)
    code, features, network = inputs(b, k, d)
    with LargestTensor() as largest:
        network(code, features).sum().backward()
    assert largest.numbers <= d * d * k < b * d * k < b * d * d
