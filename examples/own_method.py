"""Alignment and uniformity (Wang, Isola 2020, arXiv 2005.10242): covary pretrain --method own_method.py"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from covary import dist
from covary.augment import Recipe
from covary.methods.abstract import AbstractConfig, AbstractMethod, encode, weighted
from covary.nets import mlp
from covary.types import Views


@dataclass(frozen=True, kw_only=True)
class AlignUniform(AbstractConfig):
    name: ClassVar[str] = "align-uniform"
    weight_uniform: float = 1.0
    """Weight of the uniformity loss."""

    def build(self, encoder: nn.Module, features: int, recipe: Recipe) -> AbstractMethod:
        return AlignUniformMethod(self, encoder, features)


class AlignUniformMethod(AbstractMethod):
    def __init__(self, config: AlignUniform, encoder: nn.Module, features: int) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, mlp([features, 512, 128])
        self.weights = {"align": 1.0, "uniform": config.weight_uniform}

    def forward(self, views: Views) -> dict[str, Tensor]:
        y = encode(self.encoder, views.images, joint_pass=self.joint_pass)
        z1, z2 = (F.normalize(dist.all_gather_rows(self.projector(view)), dim=1) for view in y)
        align = (z1 - z2).square().sum(dim=1).mean()
        uniform = torch.stack([torch.pdist(z).square().mul(-2).exp().mean().log() for z in (z1, z2)]).mean()
        return weighted({"align": align, "uniform": uniform}, self.weights, features=y[0])
