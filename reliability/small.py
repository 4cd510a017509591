"""Every method with small layers, and a run of one that takes a fraction of a second."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from covary.methods import BASES, METHODS, SIE, STL, AbstractConfig, AugSelf, EquiMod
from covary.optim import OptimConfig
from covary.recipes import start_run
from covary.run import Run
from covary.tracking import TrackingConfig
from covary.training import Session

SIZES = {
    "head_hidden": 16,
    "head_trans_hidden": 14,
    "predictor_hidden": 8,
    "embedding": 8,
    "code": 4,
    "code_hidden": 12,
    "hidden": 10,
}


def small(config: type[AbstractConfig], **given: Any) -> AbstractConfig:
    """Return a configuration with small layers."""
    names = {field.name for field in fields(config)}
    if config is SIE:
        names.remove("hidden")  # of its original form alone
    base = {"base": small(BASES["simclr"])} if "base" in names else {}
    return config(**{**{name: size for name, size in SIZES.items() if name in names}, **base, **given})


VARIANTS: Mapping[str, AbstractConfig] = {
    **{name: small(config) for name, config in METHODS.items()},
    **{
        f"{config.name} on {base}": small(config, base=small(BASES[base]))
        for config in (STL, AugSelf, EquiMod)
        for base in BASES
        if base != "simclr"
    },
    "sie as published": SIE(form="original", hidden=SIZES["hidden"]),
}


def small_run(variant: str, *, images: int = 24, batch_size: int = 8, epochs: int = 2, **changes: Any) -> Run:
    """Return a run of a method with small layers on small pictures."""
    run = start_run(data=f"shapes:n={images}", method=VARIANTS[variant], image_size=8)
    sizes = {"encoder": "resnet8", "batch_size": batch_size, "epochs": epochs, "optim": OptimConfig(lr=0.05)}
    return replace(run, **{**sizes, **changes})


def quiet(**changes: Any) -> Session:
    """Return a session on the CPU that prints nothing and evaluates nothing."""
    return replace(Session(device="cpu", knn_epochs=-1, tracking=TrackingConfig(progress=False)), **changes)
