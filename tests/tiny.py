"""Small encoders, views and methods that tests share; float64 unless said."""

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from covary.augment import Recipe, TurnedView, preset, sample
from covary.methods import BASES, METHODS, SIE, STL, AbstractConfig, AbstractMethod, AugSelf, EquiMod
from covary.types import Views

FEATURES = 6
RECIPE = replace(
    preset("paper", size=4, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)), partners=True, turned=TurnedView(size=4)
)
SMALL = {
    "head_hidden": 16,
    "head_trans_hidden": 14,
    "predictor_hidden": 7,
    "embedding": 5,
    "code": 4,
    "code_hidden": 12,
    "hidden": 10,
}


def small(config: type[AbstractConfig], **given: Any) -> AbstractConfig:
    """A configuration with small layers."""
    names = {field.name for field in fields(config)}
    if config is SIE:
        names.remove("hidden")  # of its original form alone
    sizes = {name: size for name, size in SMALL.items() if name in names}
    base = {"base": small(BASES["simclr"])} if "base" in names else {}
    return config(**{**sizes, **base, **given})


# every method, those of the paper's table 9 on every base, and every other form there is
VARIANTS: dict[str, AbstractConfig] = {
    **{name: small(config) for name, config in METHODS.items()},
    **{
        f"{config.name} on {base}": small(config, base=small(BASES[base]))
        for config in (STL, AugSelf, EquiMod)
        for base in BASES
        if base != "simclr"
    },
    "sie on byol": small(SIE, base=small(BASES["byol"])),
    "byol with its projector's teacher": small(BASES["byol"], teacher="projector"),
    "stl on byol with its projector's teacher": small(STL, base=small(BASES["byol"], teacher="projector")),
    "stl without inv": small(STL, weight_inv=0.0),
    "stl without equi": small(STL, weight_equi=0.0),
    "stl without trans": small(STL, weight_trans=0.0),
    "stl of inv alone": small(STL, weight_equi=0.0, weight_trans=0.0),
    "sen both ways": small(METHODS["sen"], both_ways=True),
    "equimod with concat": small(EquiMod, predictor="concat", label_width=3),
    "sie as published": SIE(form="original", hidden=SMALL["hidden"]),
}


def tiny_encoder() -> nn.Module:
    """Images (b, 3, 4, 4) to 6 features, with BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(20, FEATURES, bias=False)
    )


def tiny_views(rows: int, *, seed: int = 0, partners: bool = True, params: Tensor | None = None) -> Views:
    """Two views of random images (rows, 3, 4, 4) and an extra view in four turns, with the numbers of a recipe."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, rows, 3, 4, 4, dtype=torch.float64, generator=generator)
    turned = torch.randn(4, rows, 3, 4, 4, dtype=torch.float64, generator=generator)
    if params is None:
        sizes = torch.full((rows, 2), 32)
        unpaired = replace(RECIPE, partners=False)
        params = sample(unpaired, seed=seed, epoch=0, positions=torch.arange(rows), sizes=sizes)
    return Views(images=images, params=params, partners=partners, turned=turned)


def tiny_method(
    variant: str | AbstractConfig, *, seed: int = 0, recipe: Recipe = RECIPE, **given: Any
) -> AbstractMethod:
    """A method with small layers, weights by the seed; ``given`` replaces options of its configuration."""
    config = VARIANTS[variant] if isinstance(variant, str) else variant
    torch.manual_seed(seed)
    return replace(config, **given).build(tiny_encoder(), FEATURES, recipe).double()
