"""Ranks against loops over all orders of ties, and what is known in advance."""

import itertools
import math

import pytest
import torch

from covary.evaluation.ranking import chance, retrieval, similarities


def twin(similarity: torch.Tensor, right: list[int], parameters: torch.Tensor) -> dict[str, float]:
    """Every order of the candidates that sorts the similarities, each as likely as the others."""
    sums = dict.fromkeys(("mrr", "h@1", "h@5", "pre"), 0.0)
    n, q, c = similarity.shape
    for i, k in itertools.product(range(n), range(q)):
        scores = similarity[i, k].tolist()
        orders = [
            o for o in itertools.permutations(range(c)) if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o))
        ]
        for order in orders:
            rank = order.index(right[k]) + 1
            gap = parameters[i, order[0]] - parameters[i, right[k]]
            values = {"mrr": 1 / rank, "h@1": rank <= 1, "h@5": rank <= 5, "pre": (gap**2).mean().item()}
            for name, value in values.items():
                sums[name] += value / len(orders) / (n * q)
    return sums


def test_ranks_equal_a_loop_over_all_orders() -> None:
    generator = torch.Generator().manual_seed(0)
    similarity = torch.randint(0, 4, (5, 3, 7), generator=generator).double()  # many ties
    parameters = torch.rand(5, 7, 2, generator=generator, dtype=torch.float64)
    right = torch.tensor([6, 0, 3])
    found, wanted = retrieval(similarity, right, parameters), twin(similarity, right.tolist(), parameters)
    assert found == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_similarities_equal_a_loop(distance: str) -> None:
    generator = torch.Generator().manual_seed(1)
    queries, candidates = (torch.randn(3, m, 4, generator=generator, dtype=torch.float64) for m in (2, 5))
    queries[0, 0] = 0
    found = similarities(queries, candidates, distance=distance)
    for i, a, b in itertools.product(range(3), range(2), range(5)):
        x, y = queries[i, a].tolist(), candidates[i, b].tolist()
        if distance == "cosine":
            length = math.hypot(*x) * math.hypot(*y)
            wanted = sum(s * t for s, t in zip(x, y, strict=True)) / length if length else 0.0
        else:
            wanted = -math.dist(x, y)
        assert found[i, a, b].item() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_a_constant_encoder_scores_chance_and_an_exact_one_1(distance: str) -> None:
    generator = torch.Generator().manual_seed(2)
    parameters = torch.rand(6, 20, 3, generator=generator)
    constant = torch.randn(64, generator=generator).expand(6, 20, 64)
    found = retrieval(similarities(constant, constant, distance=distance), torch.arange(20), parameters)
    assert found == pytest.approx(chance(20, parameters), rel=1e-6)
    assert found["mrr"] == pytest.approx(sum(1 / k for k in range(1, 21)) / 20)
    assert (found["h@1"], found["h@5"]) == pytest.approx((0.05, 0.25))
    views = torch.randn(6, 20, 64, generator=generator)
    exact = retrieval(similarities(views, views, distance=distance), torch.arange(20), parameters)
    assert exact == {"mrr": 1.0, "h@1": 1.0, "h@5": 1.0, "pre": 0.0}
