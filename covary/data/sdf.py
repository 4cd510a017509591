"""Signed distances of the twelve shapes of ``shapes``: negative inside, each of area 1 around its centroid."""

from collections.abc import Callable

import numpy as np

SignedDistance = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (x, y) of equal shape -> distance


def _polygon(*corners: tuple[float, float]) -> SignedDistance:
    """Return the distance to a simple polygon, moved to its centroid and scaled to area 1.

    The distance to the nearest edge; a point is inside where an odd number of edges cross the ray to its right.
    """
    points = np.array(corners, dtype=np.float64)
    after = np.roll(points, -1, axis=0)
    cross = points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]
    area = cross.sum() / 2
    centroid = ((points + after) * cross[:, None]).sum(axis=0) / (6 * area)
    starts = (points - centroid) / np.sqrt(abs(area))
    edges = list(zip(starts, np.roll(starts, -1, axis=0), strict=True))

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = np.full(x.shape, np.inf)
        inside = np.zeros(x.shape, dtype=bool)
        for (ax, ay), (bx, by) in edges:
            ex, ey = bx - ax, by - ay
            px, py = x - ax, y - ay
            along = np.clip((px * ex + py * ey) / (ex * ex + ey * ey), 0, 1)
            np.minimum(squared, (px - ex * along) ** 2 + (py - ey * along) ** 2, out=squared)
            if ey != 0:
                inside ^= ((ay > y) != (by > y)) & (px < ex * py / ey)
        return np.where(inside, -1, 1) * np.sqrt(squared)

    return distance


def _round(boundary: Callable[[np.ndarray], np.ndarray], samples: int) -> SignedDistance:
    """Return the distance to a curved shape: of the polygon through ``samples`` points of its boundary.

    boundary maps t in [0, 1) to points (n, 2).
    """
    return _polygon(*map(tuple, boundary(np.arange(samples) / samples)))


def _disk(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 1 / np.sqrt(np.pi)


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The outer radius is twice the inner: area pi (4 − 1) r^2."""
    inner = 1 / np.sqrt(3 * np.pi)
    return np.abs(np.hypot(x, y) - 1.5 * inner) - 0.5 * inner


def _capsule(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """All points within r of a segment of length 4 r: area (pi + 8) r^2."""
    radius = 1 / np.sqrt(np.pi + 8)
    return np.hypot(x - np.clip(x, -2 * radius, 2 * radius), y) - radius


def _star(points: int, inner: float) -> SignedDistance:
    angle = np.arange(2 * points) * np.pi / points
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return _polygon(*zip(radius * np.cos(angle), radius * np.sin(angle), strict=True))


def _heart(t: np.ndarray) -> np.ndarray:
    """The well-known curve (16 sin^3, 13 cos − 5 cos 2 − 2 cos 3 − cos 4)."""
    a = 2 * np.pi * t
    height = 13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a) - np.cos(4 * a)
    return np.stack([16 * np.sin(a) ** 3, -height], axis=1)


def _crescent(t: np.ndarray) -> np.ndarray:
    """Half of the points on an outer arc from tip to tip, half on an inner arc back."""
    outer = np.stack([np.cos(a := np.pi * (0.3 + 1.4 * 2 * t)), np.sin(a)], axis=1)
    tip = np.pi * 0.3
    centre = 0.62
    radius = np.hypot(np.cos(tip) - centre, np.sin(tip))
    start = np.arctan2(-np.sin(tip), np.cos(tip) - centre) % (2 * np.pi)
    end = np.arctan2(np.sin(tip), np.cos(tip) - centre)
    b = start + (end - start) * (2 * t - 1)
    inner = np.stack([centre + radius * np.cos(b), radius * np.sin(b)], axis=1)
    return np.where(t[:, None] < 0.5, outer, inner)


def _semicircle(t: np.ndarray) -> np.ndarray:
    """An arc of half a turn; the polygon's last edge is the diameter."""
    return np.stack([np.cos(np.pi * t * len(t) / (len(t) - 1)), np.sin(np.pi * t * len(t) / (len(t) - 1))], axis=1)


SHAPES: dict[str, SignedDistance] = {
    "disk": _disk,
    "ring": _ring,
    "semicircle": _round(_semicircle, 24),
    "crescent": _round(_crescent, 40),
    "triangle": _polygon((0, -1), (3**0.5 / 2, 0.5), (-(3**0.5) / 2, 0.5)),
    "square": _polygon((0, 0), (1, 0), (1, 1), (0, 1)),
    "capsule": _capsule,
    "star": _star(5, 0.42),
    "cross": _polygon((1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1)),
    "heart": _round(_heart, 40),
    "ell": _polygon((0, 0), (1, 0), (1, 2), (2.5, 2), (2.5, 3), (0, 3)),
    "tee": _polygon((0, 0), (3, 0), (3, 1), (2, 1), (2, 3), (1, 3), (1, 1), (0, 1)),
}
