"""Ranks of the right candidate among several, with ties as a random order would break them.

MRR, H@k and PRE as STL (arXiv 2501.08712) section 4.2 and SIE (arXiv 2302.10283) section 4 use them.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Distance = Literal["cosine", "euclidean"]

TIED = 1e-9  # similarities this close, in units of the largest of an image, are equal: the rounding of float64


def similarities(queries: Tensor, candidates: Tensor, *, distance: Distance) -> Tensor:
    """Return how similar each query is to each candidate of its image, float64 (n, q, c).

    queries: (n, q, d). candidates: (n, c, d). cosine: their cosine, 0 for a zero vector; euclidean: minus their
    distance.
    """
    a, b = queries.double(), candidates.double()
    if distance == "cosine":
        return F.normalize(a, dim=2) @ F.normalize(b, dim=2).mT
    return -torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def retrieval(similarity: Tensor, right: Tensor, parameters: Tensor | None = None) -> dict[str, float]:
    """Return ``mrr``, ``h@1``, ``h@5`` and, with parameters, ``pre``, means over queries.

    mrr: of 1 / rank of the right candidate. h@k: whether its rank is at most k. pre: mean squared difference between
    the parameters of the first candidate and of the right one, mean over parameters. Of tied candidates each order is
    equally likely, and the expectation is taken; so a constant encoder scores ``chance``.

    similarity: (n, q, c). right: int64 (q,), the right candidate of each query, as of every image. parameters:
    (n, c, p), of the candidates.
    """
    better, tied = places(similarity, right)
    ranks = torch.arange(1, similarity.shape[2] + 1, dtype=torch.float64, device=similarity.device)
    harmonic = F.pad((1 / ranks).cumsum(0), (1, 0))
    found = {"mrr": ((harmonic[better + tied] - harmonic[better]) / tied).mean().item()}
    for k in (1, 5):
        found[f"h@{k}"] = ((k - better).clamp(min=0).minimum(tied) / tied.double()).mean().item()
    if parameters is not None:
        first = (similarity >= similarity.amax(dim=2, keepdim=True) - _slack(similarity)).double()
        error = _errors(parameters)[:, right]
        found["pre"] = ((first * error).sum(dim=2) / first.sum(dim=2)).mean().item()
    return found


def places(similarity: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many candidates are more similar than the right one, and how many as similar as it, itself included.

    The right one's rank lies between ``better + 1`` and ``better + tied``. Arguments as of ``retrieval``; both int64
    (n, q).
    """
    own = similarity[:, torch.arange(similarity.shape[1]), right, None]
    slack = _slack(similarity)
    better = (similarity > own + slack).sum(dim=2)
    return better, ((similarity - own).abs() <= slack).sum(dim=2)


def _slack(similarity: Tensor) -> Tensor:
    """Return by how much similarities of a query may differ and be equal, (n, q, 1)."""
    return TIED * similarity.abs().amax(dim=2, keepdim=True)


def chance(candidates: int, parameters: Tensor | None = None) -> dict[str, float]:
    """Return what a random order of the candidates scores; parameters: (n, c, p), as in ``retrieval``."""
    found = {"mrr": sum(1 / rank for rank in range(1, candidates + 1)) / candidates}
    found |= {f"h@{k}": min(1.0, k / candidates) for k in (1, 5)}
    if parameters is not None:
        found["pre"] = _errors(parameters).mean().item()
    return found


def _errors(parameters: Tensor) -> Tensor:
    """Return the mean squared differences between the parameters of any two candidates of an image, (n, c, c)."""
    p = parameters.double()
    return (p[:, :, None] - p[:, None]).square().mean(dim=3)
