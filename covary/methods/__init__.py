"""Methods: one file each. The union below is the registry; a new method is added to it."""

from typing import TypeAlias

from covary.methods.base import AbstractMethod
from covary.methods.simclr import SimCLR
from covary.methods.stl import STL

MethodConfig: TypeAlias = SimCLR | STL

METHODS: dict[str, type[MethodConfig]] = {config.name: config for config in (SimCLR, STL)}

__all__ = ["METHODS", "STL", "AbstractMethod", "MethodConfig", "SimCLR"]
