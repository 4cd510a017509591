"""The hypernetwork of low rank: the full form's map, its gradients, its start."""

import pytest
import torch
from torch import Tensor

from covary.nets import LinearHypernetwork, LowRankHypernetwork

B, K, D = 6, 3, 5


def full_weight(network: LowRankHypernetwork) -> Tensor:
    """Return the weight (D * D, K) that the network stands for, term by term from the equation."""
    u, v, c = (layer.weight for layer in (network.from_rank, network.to_rank, network.code_to_rank))
    h = torch.zeros(u.shape[0], v.shape[1], c.shape[1], dtype=u.dtype)
    for r in range(u.shape[1]):
        h = h + u[:, r, None, None] * v[r, None, :, None] * c[r, None, None, :]
    return h.flatten(0, 1)


def at_full_rank(full: LinearHypernetwork) -> LowRankHypernetwork:
    """Return the same map at rank R = D K: one product for each i and k, H_o(ik) = U_o,ik, V^T and C^T of ones."""
    network = LowRankHypernetwork(code_dim=K, features=D, rank=D * K).double()
    with torch.no_grad():
        network.from_rank.weight.copy_(full.weight.view(D, D * K))
        network.to_rank.weight.copy_(torch.eye(D).repeat_interleave(K, dim=0))
        network.code_to_rank.weight.copy_(torch.eye(K).repeat(D, 1))
    return network


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    code, features = (torch.randn(B, n, generator=generator, dtype=torch.float64) for n in (K, D))
    return code.requires_grad_(), features.requires_grad_()


def test_equals_the_full_form_at_full_rank() -> None:
    full = LinearHypernetwork(code_dim=K, features=D).double()
    low, leaves = at_full_rank(full), inputs()
    ours, theirs = low(*leaves), full(*leaves)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(ours)
    mine = torch.autograd.grad(ours, [*leaves, low.from_rank.weight], direction)
    twins = torch.autograd.grad(theirs, [*leaves, full.weight], direction)
    for a, b in zip(mine, twins, strict=True):
        torch.testing.assert_close(a, b.view_as(a), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 2, 7])
def test_is_the_full_form_with_the_weight_it_stands_for(rank: int) -> None:
    low, full = (
        LowRankHypernetwork(code_dim=K, features=D, rank=rank).double(),
        LinearHypernetwork(code_dim=K, features=D).double(),
    )
    with torch.no_grad():
        full.weight.copy_(full_weight(low))
    torch.testing.assert_close(low(*inputs()), full(*inputs()), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(low.gram(), full.gram(), rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in low.parameters()) == rank * (2 * D + K)


@pytest.mark.parametrize("rank", [16, 64, 1024])
def test_moved_features_start_with_the_variance_of_the_full_form(rank: int) -> None:
    torch.manual_seed(0)
    k, d = 32, 64
    code, features = torch.randn(500, k), torch.randn(500, d)
    variances = []
    for _ in range(10):
        full, low = LinearHypernetwork(code_dim=k, features=d), LowRankHypernetwork(code_dim=k, features=d, rank=rank)
        variances.append([network(code, features).detach().var() for network in (full, low)])
    full, low = torch.tensor(variances).mean(dim=0)
    assert low / full == pytest.approx(1, abs=0.2)
