"""Optimisers, their parameter groups, and the learning rate as a function of the step."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from covary.errors import InputError

LARS_TRUST = 0.001  # You et al. 2017 (arXiv 1708.03888), eq. 6; the value of the SSL literature


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimiser and learning rate. The defaults are the paper's (appendix E.1)."""

    name: Literal["sgd", "adamw", "lars"] = "sgd"
    """sgd (momentum), adamw, or lars (SGD whose step is scaled per tensor by weight norm / gradient norm)."""
    lr: float = 0.03
    """Peak learning rate, used as it is: not scaled with the batch size."""
    momentum: float = 0.9
    """Momentum of sgd and lars; first beta of adamw."""
    weight_decay: float = 5e-4
    """Weight decay: added to the gradient by sgd and lars, decoupled in adamw."""
    decay_norm_and_bias: bool = True
    """Also decay vectors (biases, norm weights), as the authors do; lars neither decays nor scales them if off."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine falls to 0 at the last step; constant stays at lr."""
    schedule_by: Literal["step", "epoch"] = "step"
    """Move the learning rate every step, or once an epoch as the authors' code does."""
    constant_lr: tuple[str, ...] = ()
    """Parts of the method, such as predictor, whose learning rate stays at lr (as SimSiam's authors do)."""
    warmup_epochs: float = 0.0
    """Epochs of linear rise from 0 to lr before the schedule starts; the authors use none."""

    def __post_init__(self) -> None:
        """Refuse values outside their domains."""
        for field, low in {"lr": 0.0, "weight_decay": 0.0, "warmup_epochs": 0.0}.items():
            value = getattr(self, field)
            if not (math.isfinite(value) and value >= low):
                raise InputError(f"optim.{field} is {value}; expected a number of at least {low:g}.")
        if not 0 <= self.momentum < 1:
            raise InputError(f"optim.momentum is {self.momentum}; expected a number in [0, 1).")


def learning_rate(config: OptimConfig, step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """Return the learning rate of step ``step`` (from 0).

    cosine: lr/2 (1 + cos(pi (step - warmup) / (total - warmup))) in steps, or with all three in whole epochs when
    ``schedule_by`` is "epoch" (torch's CosineAnnealingLR called once an epoch).
    """
    warmup = config.warmup_epochs * steps_per_epoch
    if step < warmup:
        return config.lr * (step + 1) / math.ceil(warmup)
    if config.schedule == "constant":
        return config.lr
    if config.schedule_by == "epoch":
        step = step // steps_per_epoch * steps_per_epoch
    progress = max(0.0, step - warmup) / max(1.0, epochs * steps_per_epoch - warmup)
    return config.lr / 2 * (1 + math.cos(math.pi * progress))


def build_optimizer(config: OptimConfig, module: nn.Module) -> torch.optim.Optimizer:
    """Return a fused torch optimiser over the module's trainable parameters.

    Matrices and kernels come first, vectors (biases, norm weights) second, as two groups; the second is not decayed
    unless ``decay_norm_and_bias``. For lars the decay is applied by ``scale_gradients_lars_`` instead. Parameters of
    the parts in ``constant_lr`` are in groups of their own, whose ``constant`` is set.
    Raises InputError where the module has no such part.
    A tensor ``found_inf`` set on the optimiser makes a step leave parameters and momentum as they are when it is 1.
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    for part in config.constant_lr:
        if not any(part in name.split(".") for name in trained):
            raise InputError(f"optim.constant_lr names '{part}', but the method has no part of that name.")
    constant = {name for name in trained if not set(config.constant_lr).isdisjoint(name.split("."))}
    decay = 0.0 if config.name == "lars" else config.weight_decay
    groups = [
        {
            "params": [p for name, p in trained.items() if (p.ndim <= 1) == vector and (name in constant) == stays],
            "weight_decay": decay * (config.decay_norm_and_bias or not vector),
            "constant": stays,
        }
        for stays, vector in itertools.product((False, True), (False, True))
    ]
    groups = [group for group in groups if group["params"]]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)


@torch.no_grad()
def scale_gradients_lars_(config: OptimConfig, parameters: Iterable[Tensor]) -> None:
    """Turn gradients into LARS gradients in place: g <- trust ||w|| / (||g|| + wd ||w||) (g + wd w).

    Vectors are left alone unless ``decay_norm_and_bias``; a tensor whose norm or gradient norm is zero keeps ratio 1.
    Source: You et al. 2017, arXiv 1708.03888, algorithm 1.
    """
    chosen = [p for p in parameters if p.grad is not None and (p.ndim > 1 or config.decay_norm_and_bias)]
    gradients = [p.grad for p in chosen if p.grad is not None]
    for weight, gradient in zip(chosen, gradients, strict=True):
        weight_norm, gradient_norm = weight.norm(), gradient.norm()
        ratio = LARS_TRUST * weight_norm / (gradient_norm + config.weight_decay * weight_norm)
        ratio = torch.where((weight_norm > 0) & (gradient_norm > 0), ratio, 1.0)
        gradient.add_(weight, alpha=config.weight_decay).mul_(ratio)
