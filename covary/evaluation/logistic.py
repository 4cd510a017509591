"""Multinomial logistic regression for many penalties at once: one L-BFGS per penalty, one matmul for all.

For features x_i with a constant 1 appended, labels y_i and a penalty lambda, over the weights W (C, D + 1)::

    F(W) = sum_i [ logsumexp_c(w_c . x_i) - w_{y_i} . x_i ] + lambda * |W|^2        (the bias is penalised too)

Three things make it fast and none of them moves the minimum; ``docs/adr/0004-batched-lbfgs.md`` has the measurements:

* the problems of all penalties advance together, so that a step costs two matrix products for all of them;
* coordinates are rotated to the principal axes of the features: |W| does not change, and the Hessian becomes nearly
  diagonal, ``v_c * sum_i z_ij^2 + 2 * lambda`` with v_c the mean of p_ic * (1 - p_ic), which starts each L-BFGS;
* a problem that has converged leaves the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Self

import torch
from torch import Tensor

MEMORY = 10  # pairs kept by L-BFGS; Nocedal and Wright, Numerical Optimization, section 7.2: 3 to 20
ARMIJO = 1e-4  # sufficient decrease; Nocedal and Wright, section 3.1
SHORTEST_STEP = 1e-12  # below it rounding hides the decrease
LOGITS_AT_ONCE = {
    "cpu": 2**20,
    "cuda": 2**25,
}  # numbers in a block of logits; measured on 2 cores: flat from 2**19 to 2**21
HISTORY_AT_ONCE = 2**27  # numbers in the L-BFGS memories of the problems that advance together: 1 GiB


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The minimum for each of P penalties.

    weight:    float64 (P, C, D + 1), the bias last.
    objective: float64 (P,), F at ``weight``.
    steps:     int64 (P,), evaluations of F and its gradient.
    converged: bool (P,), whether the estimated distance to the minimum fell below ``tolerance * F``.
    """

    weight: Tensor
    objective: Tensor
    steps: Tensor
    converged: Tensor


@dataclass(frozen=True, kw_only=True)
class _Points:
    """Where each problem stands: weight (P, C, K), F (P,), its gradient (P, C, K), v (P, C)."""

    weight: Tensor
    objective: Tensor
    gradient: Tensor
    variance: Tensor

    def where(self, chosen: Tensor, other: Self) -> Self:
        """Return these points where ``chosen`` (P,) is true, else those of ``other``."""
        return type(self)(
            weight=torch.where(_spread(chosen), self.weight, other.weight),
            objective=torch.where(chosen, self.objective, other.objective),
            gradient=torch.where(_spread(chosen), self.gradient, other.gradient),
            variance=torch.where(chosen[:, None], self.variance, other.variance),
        )

    def select(self, rows: Tensor) -> Self:
        """Return the points of some of the problems."""
        return type(self)(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


class _Memory:
    """The last pairs (s, y) of each problem, newest first; an empty place is all zeros and changes nothing."""

    def __init__(self, like: Tensor) -> None:
        self.moves = like.new_zeros(MEMORY, *like.shape)
        self.changes = like.new_zeros(MEMORY, *like.shape)
        self.inverse_products = like.new_zeros(MEMORY, len(like))

    def push(self, rows: Tensor, move: Tensor, change: Tensor) -> None:
        """Remember a pair for the problems ``rows``; one without positive curvature is remembered as an empty place."""
        product = _dot(move, change)
        inverse = torch.where(product > 0, 1 / product, 0)
        for kept, new in ((self.moves, move), (self.changes, change), (self.inverse_products, inverse)):
            kept[1:, rows] = kept[:-1, rows]
            kept[0, rows] = new[rows]

    def select(self, rows: Tensor) -> None:
        """Keep some of the problems."""
        self.moves, self.changes = self.moves[:, rows], self.changes[:, rows]
        self.inverse_products = self.inverse_products[:, rows]

    def direction(self, gradient: Tensor, diagonal: Tensor) -> Tensor:
        """Return -H g: the two-loop recursion (Nocedal and Wright, algorithm 7.4) from the inverse of ``diagonal``.

        The diagonal is scaled so that it explains the newest pair.
        """
        newest = _dot(self.changes[0], self.changes[0] / diagonal) * self.inverse_products[0]
        scale = torch.where(newest > 0, 1 / newest, 1)
        result, shares = -gradient, []
        pairs = list(zip(self.moves, self.changes, self.inverse_products, strict=True))
        for move, change, inverse in pairs:
            shares.append(inverse * _dot(move, result))
            result = result - _spread(shares[-1]) * change
        result = _spread(scale) * result / diagonal
        for (move, change, inverse), share in zip(reversed(pairs), reversed(shares), strict=True):
            result += _spread(share - inverse * _dot(change, result)) * move
        return result


def minimise(
    features: Tensor,
    labels: Tensor,
    *,
    classes: int,
    penalties: Sequence[float],
    start: Tensor | None = None,
    tolerance: float,
    max_steps: int,
) -> Solution:
    """Minimise F for each penalty.

    features:  float (n, D); computed with in float64 on their device.
    labels:    int64 (n,), values in [0, classes).
    penalties: P values of lambda, all positive.
    start:     float64 (C, D + 1) where every problem begins; zeros where None.
    tolerance: a problem is done when half of g . H g, with L-BFGS's H, is at most ``tolerance * F``: by the quadratic
               model, F lies above its minimum by no more than that.
    max_steps: evaluations after which a problem stops where it is, not converged.
    """
    x = with_constant(features)
    rotation = _principal_axes(x)
    z = x @ rotation
    weight = z.new_zeros(classes, z.shape[1]) if start is None else start @ rotation
    lambdas = torch.tensor(penalties, dtype=z.dtype, device=z.device)
    together = max(1, HISTORY_AT_ONCE // (2 * MEMORY * weight.numel()))
    parts = [
        _minimise(z, labels, part, weight, tolerance=tolerance, max_steps=max_steps) for part in lambdas.split(together)
    ]
    return Solution(
        weight=torch.cat([part.weight for part in parts]) @ rotation.mT,
        objective=torch.cat([part.objective for part in parts]),
        steps=torch.cat([part.steps for part in parts]),
        converged=torch.cat([part.converged for part in parts]),
    )


def predict(features: Tensor, weight: Tensor) -> Tensor:
    """Return the most probable class of each image under each of P classifiers, int64 (P, n); a tie: the smaller class.

    features: float (n, D). weight: float64 (P, C, D + 1), the bias last.
    """
    x = with_constant(features)
    P, C, K = weight.shape
    rows = max(1, LOGITS_AT_ONCE[x.device.type] // (P * C))
    blocks = [(block @ weight.view(P * C, K).mT).view(-1, P, C).argmax(2) for block in x.split(rows)]
    return torch.cat(blocks).mT


def with_constant(features: Tensor) -> Tensor:
    """Return float64 (n, D + 1): the features and a 1."""
    x = features.double()
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)


def _principal_axes(x: Tensor) -> Tensor:
    """Return V (K, min(n, K)), orthonormal columns that span the rows of x; x V has orthogonal columns.

    At the minimum W = W V V^T, since a part of W that is orthogonal to all rows of x only costs penalty.
    """
    return torch.linalg.svd(torch.linalg.qr(x, mode="r").R, full_matrices=False).Vh.mT


def _minimise(
    z: Tensor, labels: Tensor, penalties: Tensor, start: Tensor, *, tolerance: float, max_steps: int
) -> Solution:
    energy = z.square().sum(0)
    points = _evaluate(z, labels, start.expand(len(penalties), -1, -1), penalties)
    memory = _Memory(points.weight)
    step = torch.ones_like(penalties)
    running = torch.arange(len(penalties), device=z.device)
    solution = Solution(
        weight=points.weight.clone(),
        objective=points.objective.clone(),
        steps=torch.zeros_like(running),
        converged=torch.zeros_like(running, dtype=torch.bool),
    )
    for steps in count(1):
        diagonal = points.variance[:, :, None] * energy + 2 * _spread(penalties)
        direction = memory.direction(points.gradient, diagonal)
        slope = _dot(points.gradient, direction)
        converged = -slope / 2 <= tolerance * points.objective
        stopped = converged | (step < SHORTEST_STEP) | (steps >= max_steps)
        if stopped.any():
            rows = running[stopped]
            solution.weight[rows] = points.weight[stopped]
            solution.objective[rows] = points.objective[stopped]
            solution.steps[rows] = steps
            solution.converged[rows] = converged[stopped]
            if stopped.all():
                break
            left = ~stopped
            running, penalties, step, slope, direction = (t[left] for t in (running, penalties, step, slope, direction))
            points = points.select(left)
            memory.select(left)
        tried = _evaluate(z, labels, points.weight + _spread(step) * direction, penalties)
        accepted = tried.objective <= points.objective + ARMIJO * step * slope
        memory.push(accepted.nonzero().squeeze(1), tried.weight - points.weight, tried.gradient - points.gradient)
        excess = tried.objective - points.objective - step * slope
        shorter = (-slope * step.square() / (2 * excess)).clamp(0.1 * step, 0.5 * step)  # minimum of the parabola
        step = torch.where(accepted, 1.0, shorter)
        points = tried.where(accepted, points)
    return solution


def _evaluate(z: Tensor, labels: Tensor, weight: Tensor, penalties: Tensor) -> _Points:
    """Return F, its gradient and v at P weights, in blocks of images that bound the memory."""
    P, C, K = weight.shape
    flat = weight.reshape(P * C, K)
    objective, gradient, variance = z.new_zeros(P), torch.zeros_like(flat), z.new_zeros(P * C)
    rows = max(1, LOGITS_AT_ONCE[z.device.type] // (P * C))
    for block, y in zip(z.split(rows), labels.split(rows), strict=True):
        own = y.view(-1, 1, 1).expand(-1, P, 1)
        logits = (block @ flat.mT).view(-1, P, C)
        logits -= logits.amax(2, keepdim=True)
        objective -= logits.gather(2, own).sum((0, 2))
        probabilities = logits.exp_()
        total = probabilities.sum(2, keepdim=True)
        objective += total.log().sum((0, 2))
        probabilities /= total
        columns = probabilities.view(-1, P * C)
        variance += columns.sum(0) - torch.linalg.vector_norm(columns, dim=0).square()
        probabilities.scatter_add_(2, own, probabilities.new_full((), -1.0).expand(own.shape))
        gradient.addmm_(columns.mT, block)
    return _Points(
        weight=weight,
        objective=objective + penalties * weight.square().sum((1, 2)),
        gradient=gradient.view(P, C, K) + 2 * _spread(penalties) * weight,
        variance=variance.view(P, C) / len(z),
    )


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each problem: (P, C, K), (P, C, K) -> (P,)."""
    return (a * b).sum((1, 2))


def _spread(values: Tensor) -> Tensor:
    """Return (P,) as (P, 1, 1)."""
    return values[:, None, None]
