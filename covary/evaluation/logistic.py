"""Multinomial logistic regression along a path of penalties, by L-BFGS.

For features x_i with a constant 1 appended, labels y_i and a penalty lambda, over the weights W (C, D + 1)::

    F(W) = sum_i [ logsumexp_c(w_c . x_i) - w_{y_i} . x_i ] + lambda * |W|^2        (the bias is penalised too)

Three things make it fast and none of them moves the minimum; ``docs/adr/0004-penalty-path.md`` has the measurements:

* coordinates are rotated to the principal axes of the features: |W| does not change, and the Hessian becomes nearly
  diagonal, ``v_c * sum_i z_ij^2 + 2 * lambda`` with v_c the mean of p_ic * (1 - p_ic), which starts L-BFGS;
* penalties are visited from the largest down, where the minimum is a smooth function of log(lambda): each fit starts
  where the last two point;
* L-BFGS keeps its memory from penalty to penalty: a pair (s, y) of one penalty is, with y + 2 (lambda' - lambda) s,
  exactly a pair of the next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MEMORY = 10  # pairs kept by L-BFGS; Nocedal and Wright, Numerical Optimization, section 7.2: 3 to 20
ARMIJO = 1e-4  # sufficient decrease; Nocedal and Wright, section 3.1
SHORTEST_STEP = 1e-12  # below it rounding hides the decrease
LOGITS_AT_ONCE = {"cpu": 2**20, "cuda": 2**25}  # numbers in a block of logits, which bounds the memory


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
class _Point:
    """A weight (C, K) with F, its gradient (C, K) and v (C,) there."""

    weight: Tensor
    objective: float
    gradient: Tensor
    variance: Tensor


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """Where the fit of one penalty ended."""

    point: _Point
    steps: int
    converged: bool


class _Memory:
    """The last pairs (s, y) of L-BFGS, newest first."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def push(self, move: Tensor, change: Tensor) -> None:
        """Remember a pair of positive curvature; every pair of a strictly convex F is one, rounding apart."""
        if _dot(move, change) > 0:
            self.pairs = [(move, change), *self.pairs[: MEMORY - 1]]

    def shift(self, difference: float) -> None:
        """Turn the pairs into those of a penalty that is larger by ``difference``."""
        self.pairs = [(move, change + 2 * difference * move) for move, change in self.pairs]

    def direction(self, gradient: Tensor, diagonal: Tensor) -> Tensor:
        """Return -H g: the two-loop recursion (Nocedal and Wright, algorithm 7.4) from the inverse of ``diagonal``.

        The diagonal is scaled so that it explains the newest pair.
        """
        result, shares = -gradient, []
        for move, change in self.pairs:
            shares.append(_dot(move, result) / _dot(move, change))
            result = result - shares[-1] * change
        result = result / diagonal
        if self.pairs:
            move, change = self.pairs[0]
            result *= _dot(move, change) / _dot(change, change / diagonal)
        for (move, change), share in zip(reversed(self.pairs), reversed(shares), strict=True):
            result += (share - _dot(change, result) / _dot(move, change)) * move
        return result


class _Problem:
    """F for every penalty, over the rotated features z (n, K)."""

    def __init__(self, z: Tensor, labels: Tensor, classes: int) -> None:
        self.energy = z.square().sum(0)
        rows = max(1, LOGITS_AT_ONCE[z.device.type] // classes)
        self.blocks = list(zip(z.split(rows), labels[:, None].split(rows), strict=True))
        self.images = len(z)

    def at(self, weight: Tensor, penalty: float) -> _Point:
        """Return F, its gradient and v at a weight."""
        objective, gradient = weight.new_zeros(()), 2 * penalty * weight
        variance = weight.new_zeros(len(weight))
        for block, own in self.blocks:
            logits = block @ weight.mT
            logits -= logits.amax(1, keepdim=True)
            objective -= logits.gather(1, own).sum()
            probabilities = logits.exp_()
            total = probabilities.sum(1, keepdim=True)
            objective += total.log().sum()
            probabilities /= total
            variance += probabilities.sum(0) - torch.linalg.vector_norm(probabilities, dim=0).square()
            probabilities.scatter_add_(1, own, probabilities.new_full((), -1.0).expand(own.shape))
            gradient.addmm_(probabilities.mT, block)
        return _Point(
            weight=weight,
            objective=(objective + penalty * weight.square().sum()).item(),
            gradient=gradient,
            variance=variance / self.images,
        )

    def descend(
        self, starts: Sequence[Tensor], penalty: float, memory: _Memory, *, tolerance: float, max_steps: int
    ) -> _Fit:
        """Minimise F for a penalty from the best of the starts; the memory is used and added to."""
        point = min((self.at(start, penalty) for start in starts), key=lambda p: p.objective)
        steps, step = len(starts), 1.0
        while True:
            diagonal = point.variance[:, None] * self.energy + 2 * penalty
            direction = memory.direction(point.gradient, diagonal)
            slope = _dot(point.gradient, direction).item()
            converged = -slope / 2 <= tolerance * point.objective
            if converged or step < SHORTEST_STEP or steps >= max_steps:
                return _Fit(point=point, steps=steps, converged=converged)
            tried = self.at(point.weight + step * direction, penalty)
            steps += 1
            excess = tried.objective - point.objective - step * slope
            if excess <= (ARMIJO - 1) * step * slope:
                memory.push(tried.weight - point.weight, tried.gradient - point.gradient)
                point, step = tried, 1.0
            else:
                parabola = -slope * step**2 / (2 * excess)  # where the parabola through the three numbers is least
                step = min(max(parabola, 0.1 * step), 0.5 * step)


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
    penalties: P values of lambda, all positive, strictly ascending.
    start:     float64 (C, D + 1) where the largest penalty's fit begins; zeros where None.
    tolerance: a fit is done when half of g . H g, with L-BFGS's H, is at most ``tolerance * F``: as far above its
               minimum lies F by the quadratic model. H knows few directions, so that at tiny penalties the true
               distance is larger, up to a thousandfold.
    max_steps: evaluations after which a fit stops where it is, not converged.
    """
    x = with_constant(features)
    rotation = _principal_axes(x)
    problem, memory = _Problem(x @ rotation, labels, classes), _Memory()
    starts = [x.new_zeros(classes, rotation.shape[1]) if start is None else start @ rotation]
    fits: list[_Fit] = []
    for index, penalty in reversed(list(enumerate(penalties))):
        if fits:
            memory.shift(penalty - penalties[index + 1])
            starts = [fits[-1].point.weight]
        if len(fits) > 1:
            before, last = fits[-2].point.weight, fits[-1].point.weight
            starts.append(last + _stride(*penalties[index : index + 3]) * (last - before))
        fits.append(problem.descend(starts, penalty, memory, tolerance=tolerance, max_steps=max_steps))
    fits.reverse()
    return Solution(
        weight=torch.stack([fit.point.weight for fit in fits]) @ rotation.mT,
        objective=torch.tensor([fit.point.objective for fit in fits], dtype=x.dtype),
        steps=torch.tensor([fit.steps for fit in fits]),
        converged=torch.tensor([fit.converged for fit in fits]),
    )


def _stride(penalty: float, last: float, before: float) -> float:
    """Return the step in log(lambda) from the last penalty to this one, in units of the step before."""
    return math.log(penalty / last) / math.log(last / before)


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


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of two matrices."""
    return (a * b).sum()
