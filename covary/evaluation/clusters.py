"""How well rows are clustered, and how well a map of them in two dimensions keeps neighbours."""

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

NEIGHBOURS = 15  # of UMAP's default, and of trustworthiness


@dataclass(frozen=True)
class Plane:
    """A plane that rows are seen in: through their mean, along the two directions in which they vary most.

    mean: float64 (p,). axes: float64 (p, 2). share: of their variance that the two hold, 0 where there is none.
    """

    mean: Tensor
    axes: Tensor
    share: float

    def of(self, rows: Tensor) -> Tensor:
        """Return rows (n, p) in the plane, float64 (n, 2)."""
        return (rows.double() - self.mean) @ self.axes


def pca(rows: Tensor) -> Plane:
    """Return the plane of the first two principal components of rows (n, p); a missing direction is 0."""
    rows = rows.double()
    mean = rows.mean(dim=0)
    _, values, directions = torch.linalg.svd(rows - mean, full_matrices=False)
    total = values.square().sum().item()
    axes = F.pad(directions[:2], (0, 0, 0, 2 - len(directions[:2]))).mT
    return Plane(mean=mean, axes=axes, share=values[:2].square().sum().item() / total if total > 0 else 0.0)


def has_umap() -> bool:
    """Return whether umap-learn is installed."""
    return importlib.util.find_spec("umap") is not None


def flatten(rows: Tensor, *, seed: int) -> tuple[Tensor, Literal["UMAP", "PCA"]]:
    """Return a map of rows (n, p), float64 (n, 2), and its name: UMAP where umap-learn is installed, else PCA."""
    if not has_umap():
        return pca(rows).of(rows), "PCA"
    rows = rows.double()
    with warnings.catch_warnings(action="ignore", category=ImportWarning):  # of a part that needs tensorflow
        umap = importlib.import_module("umap")
    model = umap.UMAP(n_neighbors=min(NEIGHBOURS, len(rows) - 1), random_state=seed, n_jobs=1)
    return torch.as_tensor(model.fit_transform(rows.numpy()), dtype=torch.float64), "UMAP"


def silhouette(rows: Tensor, groups: Tensor) -> float:
    """Return the mean over rows of (b - a) / max(a, b), from -1 to 1.

    a: mean distance to the other rows of the same group; b: the least mean distance to the rows of another group; a row
    alone in its group counts 0. Source: Rousseeuw 1987.

    rows: (n, p). groups: int64 (n,), two different ones or more.
    """
    distances = torch.cdist(rows.double(), rows.double(), compute_mode="donot_use_mm_for_euclid_dist")
    kinds = groups.unique()
    belongs = (groups[:, None] == kinds).double()
    sums, sizes = distances @ belongs, belongs.sum(dim=0)
    own = belongs.bool()
    a = sums[own] / (sizes.expand_as(sums)[own] - 1).clamp(min=1)
    b = (sums / sizes).masked_fill(own, torch.inf).amin(dim=1)
    scores = (b - a) / torch.maximum(a, b).clamp(min=1e-300)
    return torch.where(sizes.expand_as(sums)[own] > 1, scores, 0).mean().item()


def trustworthiness(rows: Tensor, flat: Tensor, *, neighbours: int = NEIGHBOURS) -> float:
    """Return how far the neighbours of a row in a map are its neighbours in truth, from 0 to 1.

    1 - 2 / (n k (2n - 3k - 1)) times the sum, over the k nearest rows in the map, of how much their rank in truth
    exceeds k. Source: Venna and Kaski 2001.

    rows: (n, p). flat: (n, 2). neighbours: k.
    Raises ValueError: k is n / 2 or more, where the measure has no meaning.
    """
    n, k = len(rows), neighbours
    if 2 * k >= n:
        raise ValueError(f"trustworthiness of {n} rows takes fewer than {n / 2:g} neighbours, not {k}")
    truth, nearest = (_order(each) for each in (rows, flat))
    place = torch.zeros(n, n, dtype=torch.int64)
    place.scatter_(1, truth, torch.arange(1, n).repeat(n, 1))
    excess = (place.gather(1, nearest[:, :k]) - k).clamp(min=0)
    return 1 - 2 * excess.sum().item() / (n * k * (2 * n - 3 * k - 1))


def _order(rows: Tensor) -> Tensor:
    """Return all other rows by distance, int64 (n, n - 1)."""
    distances = torch.cdist(rows.double(), rows.double(), compute_mode="donot_use_mm_for_euclid_dist")
    distances.fill_diagonal_(-1)
    return distances.argsort(dim=1, stable=True)[:, 1:]
