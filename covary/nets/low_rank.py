"""The hypernetwork of low rank: the same map with a weight of fewer numbers."""

from torch import Tensor, nn


class LowRankHypernetwork(nn.Module):
    """Moves features by a matrix that is linear in the transformation code, its weight a sum of R products.

    With the code t (K numbers) and the features y (D numbers), the weight of ``LinearHypernetwork`` in canonical
    polyadic (CP) form, ``H_oik = sum_r U_or V_ir C_kr``::

        moved = W(t) y = U ((V^T y) * (C^T t))        W(t) = U diag(C^T t) V^T

    R (2 D + K) weights in place of D D K, and as many multiplications a row. Every H has this form at R = D K; below D
    no W(t) has full rank, so that moved features lie in the R columns of U.

    to_rank (R, D), code_to_rank (R, K) and from_rank (D, R) are V^T, C^T and U. They start uniform, with variances 1/D,
    1/K and D/(3 R): moved features have the variance that the full form starts with.

    Source: the form is a design of this library; Kolda and Bader 2009, section 3, for the decomposition.
    """

    def __init__(self, *, code_dim: int, features: int, rank: int) -> None:
        super().__init__()
        self.to_rank = nn.Linear(features, rank, bias=False)
        self.code_to_rank = nn.Linear(code_dim, rank, bias=False)
        self.from_rank = nn.Linear(rank, features, bias=False)
        variances = {self.to_rank: 1 / features, self.code_to_rank: 1 / code_dim, self.from_rank: features / (3 * rank)}
        for layer, variance in variances.items():
            bound = (3 * variance) ** 0.5
            nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, code: Tensor, features: Tensor) -> Tensor:
        """Return the moved features (b, D) of the codes (b, K) and the features (b, D)."""
        return self.from_rank(self.to_rank(features) * self.code_to_rank(code))

    def gram(self) -> Tensor:
        """Return the inner products of the matrices of the K numbers, float64 (K, K): ``sum_oi H_oik H_oil``."""
        v, c, u = (layer.weight.detach().double() for layer in (self.to_rank, self.code_to_rank, self.from_rank))
        return c.mT @ ((u.mT @ u) * (v @ v.mT)) @ c
