"""Batched image operations, each equal to ``torchvision.transforms.v2.functional`` row by row.

Images are float32 (b, 3, h, w) in [0, 1] unless said otherwise. An operation takes one number per image, (b,), on
any device, and returns new images on the images' device.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision rounds it


@dataclass(frozen=True, kw_only=True)
class Taps:
    """One axis of a separable filter: ``out[i] = sum_k weight[i, k] * in[index[i, k]]`` for each image.

    index:  int64 (b, s, k), places along the axis read.
    weight: float32 (b, s, k).
    """

    index: Tensor
    weight: Tensor


def crop_taps(start: Tensor, length: Tensor, flip: Tensor, *, size: int, reach: int) -> Taps:
    """Return the taps that cut ``[start, start + length)`` and resize it to ``size`` (bilinear, antialiased).

    With ``scale = length / size``, output ``i`` averages the pixels around ``c = (i + 1/2) scale`` with weight
    ``max(0, 1 - |j + 1/2 - c| / max(scale, 1))``, normalised over the pixels ``j`` inside the box (torchvision's
    ``resized_crop(antialias=True)``). Where ``flip`` is set the output runs backwards.

    start, length: int64 (b,) in pixels. flip: bool (b,). reach: ``tap_reach`` of the longest length.
    """
    steps = torch.arange(size, device=start.device)
    step = torch.where(flip[:, None], size - 1 - steps, steps)
    scale = (length / size)[:, None, None]
    centre = (step[..., None] + 0.5) * scale
    nearest = centre.floor() + torch.arange(-reach, reach + 1, device=start.device)
    weight = (1 - (nearest + 0.5 - centre).abs() / scale.clamp_min(1)).clamp_min(0)
    last = length[:, None, None] - 1
    weight = weight * ((nearest >= 0) & (nearest <= last))
    index = start[:, None, None] + nearest.long().clamp_min(0).minimum(last)
    return Taps(index=index, weight=weight / weight.sum(dim=2, keepdim=True))


def tap_reach(length: int, size: int) -> int:
    """Return how many pixels to each side of the nearest one a resize from ``length`` to ``size`` reads."""
    return math.ceil(max(length / size, 1))


def blur(images: Tensor, sigma: Tensor, *, kernel: int) -> Tensor:
    """Blur square images with a Gaussian of ``kernel`` pixels and standard deviation ``sigma`` in pixels."""
    taps = blur_taps(sigma.to(images.device), size=images.shape[3], kernel=kernel)
    return resample(images, taps, taps)


def blur_taps(sigma: Tensor, *, size: int, kernel: int) -> Taps:
    """Return the taps of a Gaussian of ``kernel`` pixels and standard deviation ``sigma`` (b,), mirrored at the ends.

    Weight ``k`` is ``exp(-(k - (kernel - 1) / 2)**2 / (2 sigma**2))``, normalised (torchvision's ``gaussian_blur``).
    """
    distance = torch.arange(kernel, device=sigma.device) - kernel // 2
    weight = torch.softmax(-0.5 * (distance / sigma[:, None]) ** 2, dim=1)
    index = (torch.arange(size, device=sigma.device)[:, None] + distance).abs()
    index = size - 1 - (size - 1 - index).abs()
    shape = (len(sigma), size, kernel)
    return Taps(index=index.expand(shape), weight=weight[:, None].expand(shape))


def resample(images: Tensor, vertical: Taps, horizontal: Taps) -> Tensor:
    """Filter the rows, then the columns: float32 (b, 3, s, s) from (b, 3, h, w) of any type."""
    b, _, _, w = images.shape
    rows = images.permute(0, 2, 1, 3).to(torch.float32, memory_format=torch.contiguous_format)
    rows = _weighted_rows(rows, vertical)
    columns = _weighted_rows(rows.view(b, -1, 3, w).permute(0, 3, 2, 1), horizontal)
    return columns.view(b, columns.shape[1], 3, -1).permute(0, 2, 3, 1).contiguous()


def rotate(images: Tensor, angle: Tensor) -> Tensor:
    """Rotate counterclockwise about the centre by ``angle`` degrees (bilinear, zeros outside the image)."""
    radians = torch.deg2rad(angle.to(images.device))
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    h, w = images.shape[2:]
    theta = torch.stack([cos, -sin * h / w, zero, sin * w / h, cos, zero], dim=1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def blend(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Change brightness, contrast or saturation: ``clamp(b c s x + (1 - s) gray(x) + (1 - c) mean(gray(x)), 0, 1)``.

    With two of an image's three factors at 1, this is torchvision's ``adjust_brightness``, ``adjust_contrast`` or
    ``adjust_saturation``.
    """
    gray = luma(images)
    mean = gray.mean(dim=(1, 2, 3), keepdim=True)
    brightness, contrast, saturation = (_per_image(n, images) for n in (brightness, contrast, saturation))
    target = gray.mul_(1 - saturation).add_((1 - contrast) * mean)
    return torch.addcmul(target, images, brightness * contrast * saturation).clamp_(0, 1)


def grayscale(images: Tensor) -> Tensor:
    """Replace all three channels by ``luma`` (torchvision's ``rgb_to_grayscale(num_output_channels=3)``)."""
    return luma(images).expand_as(images)


def luma(images: Tensor) -> Tensor:
    """Return the weighted sum of red, green and blue, (b, 1, h, w)."""
    red, green, blue = images.split(1, dim=1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def shift_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Move the hue by ``turns`` of the colour wheel in [-1/2, 1/2], keeping HSV's saturation and value.

    With m and c the minimum and the range of a pixel, the hue in sixths of a turn is
    ``sign(green - blue) (1 + (green + blue - red - m) / c)``, in [-3, 3], red at 0, green at 2, blue at -2; a channel
    at distance d from the hue on this circle is ``m + c clamp(2 - d, 0, 1)`` (torchvision's ``adjust_hue``).
    """
    red, green, blue = images.split(1, dim=1)
    low = torch.minimum(torch.minimum(red, green), blue)
    span = torch.maximum(torch.maximum(red, green), blue).sub_(low)
    ratio = (green + blue).sub_(red).sub_(low).div_(span.clamp_min(torch.finfo(span.dtype).tiny))
    hue = torch.copysign(ratio.add_(1), green - blue).add_(6 * _per_image(turns, images))
    places = torch.tensor([0.0, 2.0, -2.0], device=images.device).view(1, 3, 1, 1)
    away = hue - places
    distance = away.sub_((away / 6).round_(), alpha=6).abs_()
    return distance.neg_().add_(2).clamp_(0, 1).mul_(span).add_(low)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Replace every value ``x`` at or above the threshold by ``1 - x``."""
    return torch.where(images >= _per_image(threshold, images), 1 - images, images)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean of each channel and divide by its standard deviation."""
    centre, spread = (images.new_tensor(numbers).view(3, 1, 1) for numbers in (mean, std))
    return (images - centre).div_(spread)


def on_rows(x: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """Replace the chosen rows (bool (b,) on the CPU) by what the operation makes of them and of their numbers."""
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == 0:
        return x
    index = rows.to(x.device)
    return x.index_copy_(0, index, operation(x.index_select(0, index), *(n[rows] for n in numbers)))


def _weighted_rows(rows: Tensor, taps: Taps) -> Tensor:
    """Return (b, s, c * w), sums of weighted rows of a (b, h, c, w)."""
    b, h = rows.shape[:2]
    index = taps.index + h * torch.arange(b, device=rows.device)[:, None, None]
    sums = functional.embedding_bag(
        index.flatten(0, 1), rows.reshape(b * h, -1), per_sample_weights=taps.weight.flatten(0, 1), mode="sum"
    )
    return sums.view(b, -1, sums.shape[1])


def _per_image(numbers: Tensor, images: Tensor) -> Tensor:
    """Bring (b,) to the images' device, shaped to multiply (b, 3, h, w)."""
    return numbers.to(images.device).view(-1, 1, 1, 1)
