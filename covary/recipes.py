"""Named settings that are worth repeating, for ``covary pretrain --recipe NAME``; other options override them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from covary.errors import InputError, did_you_mean
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


RECIPES: Mapping[str, Setting] = {
    # Small encoder on the embedded shapes: minutes on two CPU cores. Every shape has colours of its own, by which a
    # pair is told apart without a look at the shape: views keep any hue, and half of them none.
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
    # Small encoder on CIFAR-10 without a GPU.
    "cifar10-cpu": Setting(data="cifar10", image_size=32, encoder="resnet8", epochs=10, lr=0.06),
    # ResNet-18 with the 3x3 stem on CIFAR-10, for one GPU.
    "cifar10": Setting(data="cifar10", image_size=32, encoder="resnet18", epochs=100),
    # The paper's STL-10 setting (appendix E.1); epochs from the authors' code, the paper names none.
    "stl10": Setting(data="stl10", image_size=96, encoder="resnet18", epochs=200),
}


def start_run(
    *,
    data: str | None = None,
    recipe: str | None = None,
    method: str = "stl",
    preset: Preset = "paper",
    image_size: int | None = None,
) -> Run:
    """Return the run that all further options start from: a recipe's, or the defaults for a SPEC.

    Raises InputError: neither data nor recipe is given, or a name is unknown.
    """
    if recipe is None:
        if data is None:
            raise InputError("data is missing; name the images: shapes, cifar10, a folder, ...")
        return default_run(data, method=method, preset_name=preset, image_size=image_size)
    if recipe not in RECIPES:
        raise InputError(
            f"recipe '{recipe}' is unknown; expected one of {', '.join(RECIPES)}.{did_you_mean(recipe, RECIPES)}"
        )
    setting = RECIPES[recipe]
    run = default_run(
        data or setting.data, method=method, preset_name=preset, image_size=image_size or setting.image_size
    )
    crop = replace(run.augment.crop, scale=(setting.smallest_crop, 1.0))
    jitter = replace(run.augment.jitter, hue=setting.hue)
    return replace(
        run,
        augment=replace(run.augment, crop=crop, jitter=jitter, grayscale=setting.grayscale),
        encoder=setting.encoder,
        stem=setting.stem,
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        optim=replace(run.optim, lr=setting.lr),
    )
