"""covary: image encoders whose features co-vary with what was done to the image.

The functions behind the commands, imported at first use so that ``import covary`` stays light::

    covary.pretrain(data="cifar10", method="stl", out="runs/stl")
    covary.evaluate("runs/stl", data="cifar10", task="linear")
    covary.reproduce("table5", out="paper")

For your own loop: ``covary.methods``, ``covary.augment``, ``covary.losses``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from covary.version import __version__

if TYPE_CHECKING:
    from covary import augment, losses, methods
    from covary.evaluation import evaluate
    from covary.reproduction import reproduce
    from covary.training import pretrain

_FUNCTIONS = {"pretrain": "covary.training", "evaluate": "covary.evaluation", "reproduce": "covary.reproduction"}
_MODULES = ("augment", "losses", "methods")

__all__ = ["__version__", "augment", "evaluate", "losses", "methods", "pretrain", "reproduce"]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"covary.{name}")
    raise AttributeError(f"module 'covary' has no attribute '{name}'")
