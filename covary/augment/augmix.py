"""AugMix (Hendrycks et al. 2020, arXiv 1912.02781): a view mixed with chains of operations on it.

With chains ``c_k`` of one to three operations drawn at random and weights ``w ~ Dirichlet(alpha)``,
``m ~ Beta(alpha, alpha)``, a view ``x`` becomes

    x' = (1 - m) x + m sum_k w_k c_k(x).

The operations work on pixels that are integers from 0 to 255, as in the published code, which uses Pillow. Its
``level ~ U(0.1, severity)``, drawn for each operation, decides how strong the operation is (L = level / 10):

    posterize             keeps 4 - floor(4 L) of 8 bits
    rotate                by +-floor(30 L) degrees, counterclockwise
    solarize              at 256 - floor(256 L)
    shear_x, shear_y      by +-0.3 L
    translate_x, _y       by +-floor(L size / 3) pixels
    color, contrast, brightness, sharpness    factor 1.8 L + 0.1

Sources: arXiv 1912.02781, algorithm 1 and appendix; the published code (Apache-2.0) for the ranges.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from covary.augment import augmix_ops as pixels
from covary.augment.augmix_ops import WHITE
from covary.augment.checks import check_number
from covary.augment.ops import on_rows
from covary.device import send
from covary.errors import InputError

ENHANCERS = ("color", "contrast", "brightness", "sharpness")
OPERATIONS = (
    *("autocontrast", "equalize", "posterize", "rotate", "solarize"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
    *ENHANCERS,
)
GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
LOWEST_LEVEL = 0.1  # as published
DEEPEST = 3  # depth 0 draws 1 to 3 operations per chain, as published
BISECTIONS = 60  # of an interval of log(gamma variates), to the resolution of float64
LOG_GAMMA_RANGE = (-700.0, 7.0)  # holds every gamma variate of a 24-bit number for alpha from 0.05 to 100


@dataclass(frozen=True, kw_only=True)
class AugMix:
    """A view mixed with chains of operations on it.

    STL (arXiv 2501.08712) says that it uses AugMix and nothing more; the defaults are those of the published
    algorithm (inferred).
    """

    p: float = 0.0
    """Probability that a view is augmixed; 1 is the published algorithm."""
    width: int = 3
    """Number of chains."""
    depth: int = 0
    """Operations in a chain; 0 draws 1, 2 or 3 for each chain."""
    severity: float = 3.0
    """Upper end of the level of an operation, at most 10; the published script for ImageNet has 1."""
    alpha: float = 1.0
    """Concentration of the weights of the chains, Dirichlet(alpha), and of the mixed image, Beta(alpha, alpha)."""
    all_ops: bool = False
    """Draw from colour, contrast, brightness and sharpness too, which overlap with common benchmarks' corruptions."""

    def __post_init__(self) -> None:
        check_number("augmix.p", self.p, 0, 1)
        if self.width < 1:
            raise InputError(f"augmix.width is {self.width}; expected 1 chain or more.")
        if self.depth < 0:
            raise InputError(f"augmix.depth is {self.depth}; expected 1 or more, or 0 to draw it.")
        check_number("augmix.severity", self.severity, LOWEST_LEVEL, 10)
        check_number("augmix.alpha", self.alpha, 0.05, 100)

    @property
    def steps(self) -> int:
        """The most operations that a chain can have."""
        return self.depth or DEEPEST

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations that are drawn from."""
        return OPERATIONS if self.all_ops else OPERATIONS[: -len(ENHANCERS)]

    @property
    def widths(self) -> Mapping[str, int]:
        """Names and widths of the numbers of a view; chains one after the other, each with its steps in order.

        augmix_weight     width          weights of the chains, sum 1 (0 where not augmixed)
        augmix_mix        1              weight m of the mixed image; 0 = not augmixed
        augmix_operation  width x steps  index into ``OPERATIONS``; -1 = none, as beyond the chain's depth
        augmix_level      width x steps  level with the sign of rotate, shear and translate; 0 = none
        """
        if self.p == 0:
            return MappingProxyType({})
        places = self.width * self.steps
        return MappingProxyType(
            {"augmix_weight": self.width, "augmix_mix": 1, "augmix_operation": places, "augmix_level": places}
        )

    @property
    def slots(self) -> int:
        """How many uniform numbers ``draw`` needs."""
        return 3 + self.width * (2 + 3 * self.steps)


def draw(augmix: AugMix, uniform: Tensor) -> Tensor:
    """Turn uniform numbers in [0, 1), (b, slots), into those of a view, float32 (b, P), laid out as ``widths``."""
    width, steps = augmix.width, augmix.steps
    places = width * steps
    whether, pair, weight, depth, operation, level, sign = uniform.double().split(
        [1, 2, width, width, places, places, places], dim=1
    )
    augmixed = whether < augmix.p
    depths = 1 + (steps * depth).floor() if augmix.depth == 0 else torch.full_like(depth, steps)
    used = augmixed & (torch.arange(steps) < depths[..., None]).flatten(1)
    signed = (LOWEST_LEVEL + (augmix.severity - LOWEST_LEVEL) * level) * torch.where(sign < 0.5, -1, 1)
    numbers = {
        "augmix_weight": torch.where(augmixed, dirichlet(weight, augmix.alpha), 0),
        "augmix_mix": torch.where(augmixed, dirichlet(pair, augmix.alpha)[:, :1], 0),
        "augmix_operation": torch.where(used, (len(augmix.operations) * operation).floor(), -1),
        "augmix_level": torch.where(used, signed, 0),
    }
    return torch.cat([numbers[name] for name in augmix.widths], dim=1).float()


def dirichlet(uniform: Tensor, alpha: float) -> Tensor:
    """Turn uniform numbers on [0, 1), (b, k), into draws from Dirichlet(alpha, ..., alpha), float64 (b, k).

    The first of two is a draw from Beta(alpha, alpha). Each number, taken at the middle of its 24-bit cell, becomes the
    gamma variate of that quantile; a row of them is divided by its sum.
    """
    quantile = uniform.double() + 2.0**-25
    return torch.softmax(_log_gamma(quantile, alpha), dim=1)


def _log_gamma(quantile: Tensor, alpha: float) -> Tensor:
    """Return the logarithm of the gamma variate of shape ``alpha`` and scale 1 with these quantiles in (0, 1)."""
    if alpha == 1:
        return torch.log(-torch.log1p(-quantile))
    shape = torch.full_like(quantile, alpha)
    low, high = (torch.full_like(quantile, end) for end in LOG_GAMMA_RANGE)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = torch.special.gammainc(shape, middle.exp()) < quantile
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def augment_and_mix(images: Tensor, numbers: Tensor, *, augmix: AugMix) -> Tensor:
    """Mix images with chains of operations on them, all rounded to 255ths first.

    images:  float32 (b, 3, s, s) in [0, 1].
    numbers: float32 (b, P) on the CPU, laid out as ``widths``.
    """
    weight, mix, operation, level = numbers.split(list(augmix.widths.values()), dim=1)
    x = (images * WHITE).round_().clamp_(0, WHITE)
    operation, level = (number.unflatten(1, (augmix.width, -1)) for number in (operation, level))
    mixed = x * send(1 - mix, x.device)[..., None, None]
    for chain, share in enumerate(send(mix * weight, x.device)[..., None, None, None].unbind(1)):
        moved = x.clone()
        for step in range(augmix.steps):
            moved = _operate(moved, operation[:, chain, step], level[:, chain, step])
        mixed.add_(moved.mul_(share))
    return mixed.div_(WHITE)


def _operate(x: Tensor, operation: Tensor, level: Tensor) -> Tensor:
    """Apply to each row its operation, an index into ``OPERATIONS``, at its level; all (b,) on the CPU."""
    strength = level.double().abs()
    factor = strength * 1.8 / 10 + 0.1
    point_wise: dict[str, tuple[Callable[..., Tensor], *tuple[Tensor, ...]]] = {
        "autocontrast": (pixels.autocontrast,),
        "equalize": (pixels.equalize,),
        "posterize": (pixels.posterize, 4 - (strength * 4 / 10).floor()),
        "solarize": (pixels.solarize, 256 - (strength * 256 / 10).floor()),
        "color": (pixels.color, factor),
        "contrast": (pixels.contrast, factor),
        "brightness": (pixels.brightness, factor),
        "sharpness": (pixels.sharpness, factor),
    }
    for name, (function, *numbers) in point_wise.items():
        x = on_rows(x, operation == OPERATIONS.index(name), function, *numbers)
    geometric = torch.isin(operation, torch.tensor([OPERATIONS.index(name) for name in GEOMETRIC]))
    return on_rows(x, geometric, pixels.affine, matrices(operation, level, size=x.shape[3]))


def matrices(operation: Tensor, level: Tensor, *, size: int) -> Tensor:
    """Return what ``augmix_ops.affine`` needs to rotate, shear or shift square images, float64 (b, 2, 3)."""
    strength, sign = level.double().abs(), level.sign()

    def only(name: str, number: Tensor) -> Tensor:
        return torch.where(operation == OPERATIONS.index(name), sign * number, 0)

    angle = torch.deg2rad(only("rotate", (strength * 30 / 10).floor()))
    shear = strength * 0.3 / 10
    shift = (strength * (size / 3) / 10).floor()
    cos, sin, centre = angle.cos(), angle.sin(), size / 2
    rows = (
        (cos, only("shear_x", shear) - sin, only("translate_x", shift) + centre * (1 - cos + sin)),
        (only("shear_y", shear) + sin, cos, only("translate_y", shift) + centre * (1 - cos - sin)),
    )
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
