"""Small encoders, views and methods that tests share; float64 unless said."""

import torch
from torch import Tensor, nn

from covary.methods import STL, AbstractMethod, SimCLR
from covary.types import Views

FEATURES = 6


def tiny_encoder() -> nn.Module:
    """Images (b, 3, 4, 4) to 6 features, with BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(20, FEATURES, bias=False)
    )


def tiny_views(rows: int, *, seed: int = 0, partners: bool = True, params: Tensor | None = None) -> Views:
    """Two views of random images (rows, 3, 4, 4)."""
    images = torch.randn(2, rows, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Views(images=images, params=torch.zeros(2, rows, 3) if params is None else params, partners=partners)


def tiny_method(name: str, *, seed: int = 0, **fields: float) -> AbstractMethod:
    """A method with small layers, weights by the seed."""
    torch.manual_seed(seed)
    layers = {"head_hidden": 16, "embedding": 5}
    config = {
        "simclr": lambda: SimCLR(**{**layers, **fields}),
        "stl": lambda: STL(**{**layers, "code": 4, "code_hidden": 12, "head_trans_hidden": 14, **fields}),
    }[name]()
    return config.build(tiny_encoder(), FEATURES).double()
