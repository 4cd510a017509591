"""Quality of clusters and maps against scikit-learn."""

import pytest
import torch
from sklearn.manifold import trustworthiness as oracle
from sklearn.metrics import silhouette_score

from covary.evaluation.clusters import flatten, silhouette, trustworthiness


def rows(n: int = 60, p: int = 5) -> torch.Tensor:
    return torch.randn(n, p, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_silhouette_equals_scikit_learn() -> None:
    x, groups = rows(), torch.arange(60) % 4
    groups[0] = 9  # alone
    assert silhouette(x, groups) == pytest.approx(silhouette_score(x.numpy(), groups.numpy()), abs=1e-12)
    apart = x + 100 * torch.nn.functional.one_hot(groups % 5, 5)
    assert silhouette(apart, groups % 5) > 0.9


def test_trustworthiness_equals_scikit_learn() -> None:
    x, flat = rows(), rows(60, 7)[:, :2]
    assert trustworthiness(x, flat, neighbours=7) == pytest.approx(oracle(x.numpy(), flat.numpy(), n_neighbors=7))
    assert trustworthiness(x[:, :2], x[:, :2], neighbours=7) == 1.0


def test_without_umap_the_map_is_that_of_the_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    x = rows() * torch.tensor([1.0, 5.0, 1.0, 3.0, 1.0])
    flat, name = flatten(x, seed=0)
    assert name == "PCA"
    centred = x - x.mean(dim=0)
    values = torch.linalg.eigvalsh(centred.mT @ centred)
    assert flat.square().sum(dim=0).tolist() == pytest.approx(values.flip(0)[:2].tolist())


def test_umap_keeps_groups_apart() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    groups = torch.arange(60) % 3
    flat, name = flatten(rows() + 30 * torch.nn.functional.one_hot(groups, 5), seed=0)
    assert name == "UMAP"
    assert silhouette(flat, groups) > 0.5
