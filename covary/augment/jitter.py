"""Colour jitter of a batch in which every image has an order of its own, in two forms of the same numbers.

``jitter_`` changes images that share an order, in place and while they lie in the cache: for a CPU. ``jitter_mixed``
changes images of any orders at once, without a choice that depends on their numbers, so that ``torch.compile`` makes a
few passes over memory of it: for a GPU.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils._triton import has_triton

from covary.augment import ops
from covary.augment.recipe import COLUMNS, JITTER, JITTER_ORDERS
from covary.device import send

COLORS = slice(COLUMNS[JITTER[0]].start, COLUMNS["order"].stop)  # the four numbers and the order
ADJUST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": ops.brighten_,
    "contrast": ops.contrast_,
    "saturation": ops.saturate_,
    "hue": ops.shift_hue_,
}
UNCHANGED = torch.tensor([1.0, 1.0, 1.0, 0.0])
PLACES = torch.tensor([[JITTER.index(name) for name in order] for order in JITTER_ORDERS])


def orders(params: Tensor) -> Tensor:
    """Return the order of each image as a number, int64 (b,): 0 where nothing changes, 1 + i for ``JITTER_ORDERS[i]``.

    params: float32 (b, P), columns as in ``recipe.columns``.
    """
    colors = params[:, COLORS]
    return torch.where((colors[:, :4] != UNCHANGED).any(dim=1), 1 + colors[:, 4].long(), 0)


def jitter_(x: Tensor, params: Tensor, order: int) -> Tensor:
    """Apply the four operations to images (b, 3, h, w) that share an order, a value of ``orders``."""
    if order > 0:
        for name in JITTER_ORDERS[order - 1]:
            ADJUST[name](x, params[:, COLUMNS[name]].squeeze(1))
    return x


def jitter_mixed(x: Tensor, params: Tensor) -> Tensor:
    """Apply the four operations to each of the images (b, 3, h, w) in its own order; params on the CPU.

    Compiled on a GPU where Triton is installed.
    """
    colors = params[:, COLORS]
    chosen = PLACES[colors[:, 4].long()][..., None] == torch.arange(len(JITTER))
    steps = torch.where(chosen, colors[:, None, :4], UNCHANGED)
    chain = _compiled() if x.device.type == "cuda" and has_triton() else four_steps
    return chain(x, send(steps, x.device))


def four_steps(x: Tensor, steps: Tensor) -> Tensor:
    """Apply four steps, of which each changes one of brightness, contrast, saturation and hue of an image.

    steps: float32 (b, 4, 4), the numbers of ``JITTER`` at each step; 1, 1, 1, 0 leave an image as it is. With b, c, s
    the three factors, two of which are 1: ``clamp(b c s x + (1 - s) luma(x) + (1 - c) mean(luma(x)), 0, 1)``.
    """
    red, green, blue = x.unbind(1)
    for step in steps.unbind(1):
        b, c, s, turns = step[:, :, None, None].unbind(1)
        gray = red * ops.LUMA[0] + green * ops.LUMA[1] + blue * ops.LUMA[2]
        target = (1 - s) * gray + (1 - c) * gray.mean(dim=(1, 2), keepdim=True)
        blended = [(b * c * s * channel + target).clamp(0, 1) for channel in (red, green, blue)]
        moved = _shifted(red, green, blue, turns)
        red, green, blue = (torch.where(turns == 0, *pair) for pair in zip(blended, moved, strict=True))
    return torch.stack([red, green, blue], dim=1)


def _shifted(red: Tensor, green: Tensor, blue: Tensor, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the channels with their hue moved, as ``ops.shift_hue_`` does."""
    low, high = torch.minimum(torch.minimum(red, green), blue), torch.maximum(torch.maximum(red, green), blue)
    span = high - low
    ratio = (green + blue - red - low) / span.clamp_min(torch.finfo(span.dtype).tiny)
    hue = (torch.copysign(ratio + 1, green - blue) + 6 * turns).remainder(6)
    to_red, to_green, to_blue = (span * ((hue - place).abs() - 1).clamp(0, 1) for place in (3, 2, 4))
    return low + to_red, high - to_green, high - to_blue


@functools.cache
def _compiled() -> Callable[[Tensor, Tensor], Tensor]:
    return torch.compile(four_steps)
