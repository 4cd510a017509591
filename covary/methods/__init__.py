"""Methods: one file each. A base (SimCLR, BYOL, ...) is a method alone and what the other methods build on."""

from covary.methods.abstract import AbstractConfig, AbstractMethod
from covary.methods.augself import AugSelf
from covary.methods.barlow_twins import BarlowTwins
from covary.methods.base import Base
from covary.methods.byol import BYOL
from covary.methods.equimod import EquiMod
from covary.methods.essl import ESSL
from covary.methods.moco import MoCo
from covary.methods.mover import CodeMover, LabelMover, Mover, Moves, ReadsCodes
from covary.methods.own import load_method
from covary.methods.sen import SEN
from covary.methods.sie import SIE
from covary.methods.simclr import SimCLR
from covary.methods.simsiam import SimSiam
from covary.methods.stl import STL
from covary.methods.vicreg import VICReg

BASES: dict[str, type[Base]] = {config.name: config for config in (SimCLR, BYOL, SimSiam, BarlowTwins, MoCo, VICReg)}
METHODS: dict[str, type[AbstractConfig]] = {
    **BASES,
    **{config.name: config for config in (ESSL, AugSelf, SEN, EquiMod, SIE, STL)},
}

__all__ = [
    "BASES",
    "BYOL",
    "ESSL",
    "METHODS",
    "SEN",
    "SIE",
    "STL",
    "AbstractConfig",
    "AbstractMethod",
    "AugSelf",
    "BarlowTwins",
    "Base",
    "CodeMover",
    "EquiMod",
    "LabelMover",
    "MoCo",
    "Mover",
    "Moves",
    "ReadsCodes",
    "SimCLR",
    "SimSiam",
    "VICReg",
    "load_method",
]
