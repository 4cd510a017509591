"""Rows of features or codes as points of a plane, each with its nearest neighbours among the rows themselves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from covary.evaluation.clusters import NEIGHBOURS, flatten, has_umap, pca
from covary.evaluation.features import check_finite
from covary.evaluation.knn import NUMBERS_AT_ONCE, nearest
from covary.evaluation.subject import Subject
from covary.explore.page import packed

SHOWN = 8  # neighbours of a point
LEAST_UMAP = 2 * NEIGHBOURS + 1  # rows; below it a map has no neighbourhoods to keep
FINEST = 2**16 - 1  # steps along the longer side of a map


def image_map(subject: Subject, rows: Tensor) -> tuple[Mapping[str, Any], Tensor]:
    """Return the map of test images by their features, and the features, float32 (n, D) on the CPU."""
    features = subject.extractor.features(subject.test, rows)
    check_finite(features, f"{subject.test.split} images")
    return as_map(features, seed=subject.seed), features


def as_map(rows: Tensor, *, seed: int) -> Mapping[str, Any]:
    """Return planes of rows (n, p) by name, PCA and where it can be had UMAP, and neighbours, for the page."""
    plane = pca(rows)
    planes = {"PCA": plane.of(rows)}
    if has_umap() and len(rows) >= LEAST_UMAP:
        planes["UMAP"] = flatten(rows, seed=seed)[0]
    found = neighbours(rows, SHOWN)
    return {
        "planes": {name: packed(quantised(points.numpy())) for name, points in planes.items()},
        "share": plane.share,
        "neighbours": packed(found.to(torch.int32)),
        "shown": found.shape[1],
    }


def neighbours(rows: Tensor, count: int) -> Tensor:
    """Return the other rows of highest cosine, nearest first, int64 (n, min(count, n - 1))."""
    unit, few = normalize(rows.float()), min(count, len(rows) - 1)
    found = []
    for places in torch.arange(len(rows)).split(max(1, NUMBERS_AT_ONCE["cpu"] // len(rows))):
        similarity = unit[places] @ unit.mT
        similarity[torch.arange(len(places)), places] = -torch.inf
        found.append(nearest(similarity, few)[1])
    return torch.cat(found)


def quantised(points: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return points (n, 2) on a grid of ``FINEST`` steps, both axes by one scale, the shorter one centred."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = FINEST / max(float((high - low).max()), 1e-30)
    return np.rint(FINEST / 2 + (points - (low + high) / 2) * scale).clip(0, FINEST).astype(np.uint16)
