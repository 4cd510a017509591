"""Named settings and the rows of the paper's tables, for ``covary pretrain --recipe NAME``.

A recipe is a setting, such as ``stl10``, to which the method is said, or a setting and a row of a table, such as
``stl10/byol-stl``, which says it. Other options override both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from covary.augment import TARGETS
from covary.errors import InputError, did_you_mean
from covary.methods import AbstractConfig
from covary.run import Preset, Run, Stem, default_run


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a recipe fixes beside method and preset."""

    data: str
    image_size: int
    encoder: str
    epochs: int
    stem: Stem = "auto"
    batch_size: int = 256
    lr: float = 0.03
    smallest_crop: float = 0.2
    hue: float = 0.1
    grayscale: float = 0.2


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row of a table trains: a method, its base, its options, and what is done to the images."""

    method: str
    base: str | None = None
    targets: str | None = None
    augmix: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        # Small encoder on the embedded shapes: minutes on two CPU cores. Every shape has colours of its own, by which
        # a pair is told apart without a look at the shape: views keep any hue, and half of them none.
        "demo": Setting(
            data="shapes",
            image_size=32,
            encoder="resnet8",
            stem="imagenet",
            epochs=8,
            lr=0.1,
            smallest_crop=0.5,
            hue=0.5,
            grayscale=0.5,
        ),
        # The paper's tables at the size of CIFAR-10, with a small encoder, without a GPU: in equal time the 7x7 stem
        # sees five times the images that the 3x3 stem does, and gets further.
        "small": Setting(data="cifar10", image_size=32, encoder="resnet8", stem="imagenet", epochs=10, lr=0.06),
        # ResNet-18 with the 3x3 stem on CIFAR-10, for one GPU.
        "cifar10": Setting(data="cifar10", image_size=32, encoder="resnet18", epochs=100),
        # The paper's STL-10 setting (appendix E.1); epochs from the authors' code, the paper names none.
        "stl10": Setting(data="stl10", image_size=96, encoder="resnet18", epochs=200),
        # The paper's ImageNet-100 setting (appendix E.2); image size INFERRED.
        "imagenet100": Setting(data="imagenet100", image_size=224, encoder="resnet50", epochs=500),
    }
)

# tables 2 and 3 (imagenet100), 11 (stl10)
NINE: Mapping[str, Row] = MappingProxyType(
    {
        "simclr": Row(method="simclr"),
        "simclr+augmix": Row(method="simclr", augmix=True),
        "e-ssl": Row(method="e-ssl"),
        "augself": Row(method="augself"),
        "sen": Row(method="sen"),
        "equimod": Row(method="equimod"),
        "sie": Row(method="sie"),
        "stl": Row(method="stl"),
        "stl+augmix": Row(method="stl", augmix=True),
    }
)
# table 7 (stl10)
ABLATIONS: Mapping[str, Row] = MappingProxyType(
    {
        "stl-only-inv": Row(method="stl", options={"weight_equi": 0.0, "weight_trans": 0.0}),
        "stl-only-equi": Row(method="stl", options={"weight_inv": 0.0, "weight_trans": 0.0}),
        "stl-without-inv": Row(method="stl", options={"weight_inv": 0.0}),
        "stl-without-equi": Row(method="stl", options={"weight_equi": 0.0}),
        "stl-without-trans": Row(method="stl", options={"weight_trans": 0.0}),
    }
)
# table 8 (stl10)
TARGET_SETS: Mapping[str, Row] = MappingProxyType(
    {
        f"{method}-{targets}": Row(method=method, targets=targets)
        for targets in TARGETS
        for method in ("augself", "equimod", "stl")
    }
)
# table 9 (stl10)
BASE_MODELS: Mapping[str, Row] = MappingProxyType(
    {
        name: row
        for base in ("byol", "simsiam", "barlow-twins")
        for name, row in (
            (base, Row(method=base)),
            *((f"{base}-{method}", Row(method=method, base=base)) for method in ("augself", "equimod", "stl")),
        )
    }
)

ROWS: Mapping[str, Row] = MappingProxyType({**NINE, **ABLATIONS, **TARGET_SETS, **BASE_MODELS})

RECIPES: Mapping[str, tuple[Setting, Row | None]] = MappingProxyType(
    {
        **{name: (setting, None) for name, setting in SETTINGS.items()},
        **{f"{place}/{name}": (setting, row) for place, setting in SETTINGS.items() for name, row in ROWS.items()},
    }
)


def start_run(
    *,
    data: str | None = None,
    recipe: str | None = None,
    method: str | AbstractConfig | None = None,
    base: str | None = None,
    preset: Preset = "paper",
    targets: str | None = None,
    image_size: int | None = None,
) -> Run:
    """Return the run that all further options start from: a recipe's, or the defaults for a SPEC.

    method, base, targets: see ``run.default_run``; None takes the recipe's, else STL, its base and its targets.
    Raises InputError: neither data nor recipe is given, a name is unknown, or a row of a table is given another method.
    """
    if recipe is None:
        if data is None:
            raise InputError("data is missing; name the images: shapes, cifar10, a folder, ...")
        return default_run(
            data, method=method or "stl", base=base, preset_name=preset, targets=targets, image_size=image_size
        )
    if recipe not in RECIPES:
        raise InputError(f"recipe '{recipe}' is unknown; expected {_summary()}.{did_you_mean(recipe, RECIPES)}")
    setting, row = RECIPES[recipe]
    if row is not None:
        _agree(recipe, row, {"method": method, "base": base, "targets": targets})
        method, base, targets = row.method, row.base, row.targets
    run = default_run(
        data or setting.data,
        method=method or "stl",
        base=base,
        preset_name=preset,
        targets=targets,
        image_size=image_size or setting.image_size,
    )
    crop = replace(run.augment.crop, scale=(setting.smallest_crop, 1.0))
    jitter = replace(run.augment.jitter, hue=setting.hue)
    run = replace(
        run,
        augment=replace(run.augment, crop=crop, jitter=jitter, grayscale=setting.grayscale),
        encoder=setting.encoder,
        stem=setting.stem,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        optim=replace(run.optim, lr=setting.lr),
    )
    return run if row is None else _with_row(run, row)


def _with_row(run: Run, row: Row) -> Run:
    """Return the run with the options of a row's method, and with AugMix, which partners share, where it has it."""
    recipe = run.augment
    if row.augmix:
        shared = tuple(dict.fromkeys((*recipe.targets, "augmix"))) if recipe.partners else recipe.targets
        recipe = replace(recipe, augmix=replace(recipe.augmix, p=1.0), targets=shared)
    return replace(run, method=replace(run.method, **row.options), augment=recipe)


def _agree(recipe: str, row: Row, given: Mapping[str, str | AbstractConfig | None]) -> None:
    """Raise ``InputError`` where an option says otherwise than the row."""
    for option, value in given.items():
        said = value.name if isinstance(value, AbstractConfig) else value
        if said is not None and (said != getattr(row, option) or isinstance(value, AbstractConfig)):
            raise InputError(
                f"recipe '{recipe}' says method, base and targets itself; leave out {option} {said}, or start from "
                f"--recipe {recipe.split('/')[0]}, to which all three can be said."
            )


def _summary() -> str:
    """Return what recipes there are, in one line."""
    return f"{', '.join(SETTINGS)}, or one of these and a row, such as stl10/stl; rows are {', '.join(ROWS)}"
