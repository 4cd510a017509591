"""Ridge regression, its penalty chosen on held-out rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

FLOOR = 0.01
PENALTIES = tuple(10.0**power for power in range(-4, 5))  # times the number of rows; inputs have variance 1


@dataclass(frozen=True)
class Ridge:
    """A fitted map ``(x - shift) / scale @ weight + bias``.

    shift, scale: float64 (p,). weight: float64 (p, q). bias: float64 (q,). penalty: lambda chosen.
    """

    shift: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    penalty: float

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the predictions (n, q) for inputs (n, p), of their type."""
        return (((inputs.double() - self.shift) / self.scale) @ self.weight + self.bias).to(inputs.dtype)


def fit_ridge(inputs: Tensor, outputs: Tensor, validation: Tensor) -> Ridge:
    """Minimise ``|Y - X W|^2 + lambda n |W|^2`` in float64, Y centred and X standardised (``standardisation``).

    lambda is the one of ``PENALTIES`` with the least squared error on the validation rows, the smaller of equals; then
    all rows are fitted.

    inputs: (n, p). outputs: (n, q). validation: int64, rows, some but not all.
    """
    x, y = inputs.double(), outputs.double()
    held_out = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    held_out[validation.to(x.device)] = True
    candidates = _fits(x[~held_out], y[~held_out], PENALTIES)
    errors = [(y[held_out] - fit(x[held_out])).square().sum().item() for fit in candidates]
    return _fits(x, y, (PENALTIES[errors.index(min(errors))],))[0]


def standardisation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column of (n, p), what a probe's inputs are brought to 0 and 1 by.

    A deviation below ``FLOOR`` times their root mean square is taken for that: a number that hardly varies in training
    must not outweigh all others on a test image.
    """
    shift = x.mean(dim=0)
    scale = (x - shift).square().mean(dim=0).sqrt()
    floor = FLOOR * scale.square().mean().sqrt()
    return shift, torch.where(floor > 0, scale.maximum(floor), 1)


def _fits(x: Tensor, y: Tensor, penalties: tuple[float, ...]) -> list[Ridge]:
    """Fit all rows, once for each penalty, through the smaller of the two Gram matrices."""
    bias, (shift, scale) = y.mean(dim=0), standardisation(x)
    x, y, n = (x - shift) / scale, y - bias, len(x)
    wide = x.shape[1] > n
    gram = x @ x.mT if wide else x.mT @ x
    target = y if wide else x.mT @ y
    found = []
    for penalty in penalties:
        ridged = gram + penalty * n * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        solved = torch.cholesky_solve(target, torch.linalg.cholesky(ridged))
        found.append(Ridge(shift, scale, x.mT @ solved if wide else solved, bias, penalty))
    return found
