"""Named runs: one value per setting that is worth repeating, for ``covary pretrain --recipe NAME``.

A recipe holds everything but the data where that is the user's to choose; any option on the command line overrides
the recipe's value.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from covary.errors import InputError, did_you_mean
from covary.optim import OptimConfig
from covary.run import Run, default_run


def demo(method: str = "stl") -> Run:
    """Small encoder on the embedded shapes, sized for minutes on two CPU cores."""
    run = default_run("shapes", method=method, image_size=32)
    return replace(run, encoder="resnet8", epochs=8, batch_size=128, optim=OptimConfig(lr=0.06))


def cifar10_cpu(method: str = "stl") -> Run:
    """Small encoder on CIFAR-10 without a GPU."""
    run = default_run("cifar10", method=method, image_size=32)
    return replace(run, encoder="resnet8", epochs=10, optim=OptimConfig(lr=0.06))


def cifar10(method: str = "stl") -> Run:
    """ResNet-18 with the 3x3 stem on CIFAR-10, 100 epochs; meant for one GPU."""
    return replace(default_run("cifar10", method=method, image_size=32), epochs=100)


def stl10(method: str = "stl") -> Run:
    """The paper's STL-10 setting (appendix E.1): ResNet-18 at 96 px, batch 256, 200 epochs on train+unlabeled."""
    return default_run("stl10", method=method, image_size=96)


RECIPES: Mapping[str, Callable[[str], Run]] = {
    "demo": demo,
    "cifar10-cpu": cifar10_cpu,
    "cifar10": cifar10,
    "stl10": stl10,
}


def recipe_run(name: str, *, method: str = "stl") -> Run:
    """Return the run of a named recipe for a method.

    Raises InputError: unknown recipe or method.
    """
    if name not in RECIPES:
        raise InputError(
            f"recipe '{name}' is unknown; expected one of {', '.join(RECIPES)}.{did_you_mean(name, RECIPES)}"
        )
    return RECIPES[name](method)
