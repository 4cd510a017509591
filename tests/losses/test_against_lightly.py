"""The losses of another library, in one process, value and gradient."""

from collections.abc import Callable

import pytest
import torch
from lightly.loss import BarlowTwinsLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from torch import Tensor

from covary.losses import barlow_twins, info_nce, negative_cosine, normalized_mse, vicreg

Loss = Callable[[Tensor, Tensor], Tensor]

PAIRS: dict[str, tuple[Loss, Loss]] = {
    "info_nce": (lambda a, b: info_nce(a, b, temperature=0.2), NTXentLoss(temperature=0.2)),
    "negative_cosine": (negative_cosine, NegativeCosineSimilarity()),
    "normalized_mse": (normalized_mse, lambda a, b: 2 + 2 * NegativeCosineSimilarity()(a, b)),
    "barlow_twins": (barlow_twins, BarlowTwinsLoss(lambda_param=0.0051)),  # its default is 0.005
    "vicreg": (vicreg, VICRegLoss()),
}


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize(("n", "d"), [(4, 128), (64, 32)], ids=["more columns", "more rows"])
def test_agrees(name: str, n: int, d: int) -> None:
    values, gradients = [], []
    for loss in PAIRS[name]:
        a, b = (0.8 * torch.randn(2, n, d, generator=torch.Generator().manual_seed(0)) + 0.3).requires_grad_().unbind()
        a.retain_grad()
        b.retain_grad()
        values.append(loss(a, b))
        values[-1].backward()
        gradients.append(torch.cat([a.grad, b.grad]))
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-5 * float(gradients[1].abs().max()))
