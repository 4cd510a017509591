"""Batched image operations, each equal to ``torchvision.transforms.v2.functional`` row by row.

Images are float32 (b, 3, h, w) in [0, 1] unless said otherwise. An operation takes one number per image, (b,), on
any device. One whose name ends in ``_`` changes the images, the others return new ones, on the images' device.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from covary.device import send

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision rounds it


@dataclass(frozen=True, kw_only=True)
class Taps:
    """One axis of a separable filter: ``out[i] = sum_k weight[i, k] * in[index[i, k]]`` for each image.

    index:  int32 (b, s, k), places along the axis read.
    weight: float32 (b, s, k).
    """

    index: Tensor
    weight: Tensor

    def rows(self, part: slice) -> "Taps":
        """Return the taps of a part of the images."""
        return Taps(index=self.index[part], weight=self.weight[part])


def crop_taps(start: Tensor, length: Tensor, flip: Tensor, *, size: int, reach: int) -> Taps:
    """Return the taps that cut ``[start, start + length)`` and resize it to ``size`` (bilinear, antialiased).

    With ``scale = length / size``, output ``i`` averages the pixels around ``c = (i + 1/2) scale`` with weight
    ``max(0, 1 - |j + 1/2 - c| / max(scale, 1))``, normalised over the pixels ``j`` inside the box (torchvision's
    ``resized_crop(antialias=True)``). Where ``flip`` is set the output runs backwards.

    start, length: int64 (b,) in pixels. flip: bool (b,). reach: ``tap_reach`` of the longest length.
    """
    device = start.device
    start, length = (numbers[:, None, None].to(torch.float32) for numbers in (start, length))
    steps = torch.arange(size, device=device)
    scale = length / size
    centre = (torch.where(flip[:, None, None], size - 1 - steps, steps) + 0.5) * scale
    away = torch.arange(-reach, reach + 1, device=device)[:, None] + 0.5
    place = centre.floor() + away  # (b, k, s): centres of the pixels read; the long axis last, which is fast
    weight = (1 - (place - centre).abs_().div_(scale.clamp_min(1))).clamp_min_(0)
    weight *= (place > 0) & (place < length)
    total = reduce(torch.add, weight.unbind(1))  # in order: the zeros that a longer reach brings change no bit
    index = start + (place - 0.5).clamp_min_(0).minimum(length - 1)
    return Taps(
        index=index.to(torch.int32).transpose(1, 2).contiguous(),
        weight=weight.div_(total[:, None]).transpose(1, 2).contiguous(),
    )


def tap_reach(length: int, size: int) -> int:
    """Return how many pixels to each side of the nearest one a resize from ``length`` to ``size`` reads."""
    return math.ceil(max(length / size, 1))


def blur(images: Tensor, sigma: Tensor, *, kernel: int) -> Tensor:
    """Blur square images with a Gaussian of ``kernel`` pixels and standard deviation ``sigma`` in pixels."""
    taps = blur_taps(send(sigma, images.device), size=images.shape[3], kernel=kernel)
    return resample(images, taps, taps)


def blur_taps(sigma: Tensor, *, size: int, kernel: int) -> Taps:
    """Return the taps of a Gaussian of ``kernel`` pixels and standard deviation ``sigma`` (b,), mirrored at the ends.

    Weight ``k`` is ``exp(-(k - (kernel - 1) / 2)**2 / (2 sigma**2))``, normalised (torchvision's ``gaussian_blur``).
    """
    distance = torch.arange(kernel, device=sigma.device, dtype=torch.int32) - kernel // 2
    weight = torch.softmax(-0.5 * (distance / sigma[:, None]) ** 2, dim=1)
    index = (torch.arange(size, device=sigma.device, dtype=torch.int32)[:, None] + distance).abs()
    index = size - 1 - (size - 1 - index).abs()
    shape = (len(sigma), size, kernel)
    return Taps(index=index.expand(shape).contiguous(), weight=weight[:, None].expand(shape))


def resample(images: Tensor, vertical: Taps, horizontal: Taps) -> Tensor:
    """Filter along rows and columns: float32 (b, 3, s, s) from (b, 3, h, w) of any type.

    A filter reads whole lines of memory as weighted sums of them, hence each pass finds its axis turned upright.
    """
    columns = images.transpose(2, 3).to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    rows = _weighted_rows(columns, horizontal).transpose(2, 3).contiguous()
    return _weighted_rows(rows, vertical)


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate counterclockwise about the centre by ``angle`` degrees (bilinear, zeros outside the image)."""
    radians = torch.deg2rad(angle.to(images.device))
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    h, w = images.shape[2:]
    theta = torch.stack([cos, -sin * h / w, zero, sin * w / h, cos, zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def brighten_(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply by the factor: ``clamp(f x, 0, 1)`` (torchvision's ``adjust_brightness``)."""
    return images.mul_(_per_image(factor, images)).clamp_(0, 1)


def contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """Move values from or to the mean of gray: ``clamp(f x + (1 - f) mean(luma(x)), 0, 1)`` (``adjust_contrast``)."""
    factor = _per_image(factor, images)
    means = images.mean(dim=(2, 3), keepdim=True)
    return images.mul_(factor).add_(luma(means).mul_(1 - factor)).clamp_(0, 1)


def saturate_(images: Tensor, factor: Tensor) -> Tensor:
    """Move values from or to gray: ``clamp(f x + (1 - f) luma(x), 0, 1)`` (torchvision's ``adjust_saturation``)."""
    return torch.lerp(luma(images), images, _per_image(factor, images), out=images).clamp_(0, 1)


def grayscale(images: Tensor) -> Tensor:
    """Replace all three channels by ``luma`` (torchvision's ``rgb_to_grayscale(num_output_channels=3)``)."""
    return luma(images).expand_as(images)


def luma(images: Tensor) -> Tensor:
    """Return the weighted sum of red, green and blue, (b, 1, h, w)."""
    red, green, blue = images.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue_(images: Tensor, turns: Tensor) -> Tensor:
    """Move the hue by ``turns`` of the colour wheel in [-1/2, 1/2], keeping HSV's saturation and value.

    With the largest and the smallest channel of a pixel, ``high`` and ``low``, and ``span`` their difference, its hue
    in sixths of a turn is ``sign(green - blue) (1 + (green + blue - red - low) / span)``, red at 0, green at 2, blue at
    -2. Moved, and counted in [0, 6), it is ``h``, and with ``far(p) = clamp(|h - p| - 1, 0, 1)`` the channels are
    ``low + span far(3)``, ``high - span far(2)`` and ``high - span far(4)`` (torchvision's ``adjust_hue``).
    """
    red, green, blue = images.split(1, dim=1)
    low, high = torch.minimum(red, green), torch.maximum(red, green)
    torch.minimum(low, blue, out=low)
    torch.maximum(high, blue, out=high)
    span = high - low
    hue = (green + blue).sub_(red).sub_(low).div_(span.clamp_min(torch.finfo(span.dtype).tiny)).add_(1)
    hue = torch.copysign(hue, green - blue, out=hue).add_(_per_image(6 * turns, images))
    hue.sub_(torch.div(hue, 6).floor_(), alpha=6)  # a third of the time of remainder_
    for channel, place, end, sign in ((red, 3, low, 1), (green, 2, high, -1), (blue, 4, high, -1)):
        far = (hue - place).abs_().sub_(1).clamp_(0, 1)
        torch.addcmul(end, far, span, value=sign, out=channel)
    return images


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Replace every value ``x`` at or above the threshold by ``1 - x``."""
    return torch.where(images >= _per_image(threshold, images), 1 - images, images)


def normalize_(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean of each channel and divide by its standard deviation."""
    for channel, centre, spread in zip(images.unbind(1), mean, std, strict=True):
        channel.sub_(centre).div_(spread)
    return images


def on_rows(x: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """Replace the chosen rows (bool (b,) on the CPU) by what the operation makes of them and of their numbers."""
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0:
        return x
    index = send(rows, x.device)
    return x.index_copy_(0, index, operation(x.index_select(0, index), *(n[rows] for n in numbers)))


def _weighted_rows(images: Tensor, taps: Taps) -> Tensor:
    """Return (b, c, s, w), sums of weighted rows of a (b, c, h, w)."""
    b, c, h, w = images.shape
    s, k = taps.index.shape[1:]
    first = torch.arange(0, b * c * h, h, device=images.device, dtype=torch.int32).view(b, c, 1, 1)
    sums = functional.embedding_bag(
        (taps.index[:, None] + first).view(-1, k),
        images.view(-1, w),
        per_sample_weights=taps.weight[:, None].expand(b, c, s, k).reshape(-1, k),
        mode="sum",
    )
    return sums.view(b, c, s, w)


def _per_image(numbers: Tensor, images: Tensor) -> Tensor:
    """Bring (b,) to the images' device, shaped to multiply (b, 3, h, w)."""
    return send(numbers, images.device).view(-1, 1, 1, 1)
