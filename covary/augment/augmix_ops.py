"""The operations of AugMix, each equal to Pillow's on uint8 images, row by row.

Images are float32 (b, 3, h, w) that hold the integers 0 to 255, and so are results. An operation takes one number per
image, (b,), on any device, and returns new images on the images' device.
"""

import torch
from torch import Tensor
from torch.nn import functional

from covary.device import send

WHITE = 255
LUMA = (19595, 38470, 7471)  # ITU-R BT.601 in units of 2**-16, as Pillow rounds it
TRUNCATION = 2.0**-8  # what float32 may lack to an integer in a bilinear mean that Pillow takes in float64


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0..255: ``floor(x s - lo s)``, ``s = 255 / (hi - lo)`` (``ImageOps.autocontrast``).

    A channel of one value stays as it is.
    """
    low, high = (end(images.flatten(2), dim=2, keepdim=True).double() for end in (torch.amin, torch.amax))
    levels = torch.arange(WHITE + 1, device=images.device, dtype=torch.float64)
    scale = levels[-1] / (high - low).clamp_min(1)  # tensor by tensor; 255 / tensor is 255 times a reciprocal
    table = torch.where(high > low, levels * scale - low * scale, levels)
    return _look_up(images, table)


def equalize(images: Tensor) -> Tensor:
    """Spread each channel's values: ``floor((s // 2 + number of pixels below x) / s)`` (``ImageOps.equalize``).

    ``s`` is a 255th of the number of pixels below the highest value, rounded down; where it is 0 the channel stays as
    it is.
    """
    b, c = images.shape[:2]
    bins = WHITE + 1
    rows = torch.arange(b * c, device=images.device).view(b, c, 1)
    places = (images.long().flatten(2) + bins * rows).flatten()
    counts = torch.zeros(b * c * bins, dtype=torch.long, device=images.device)
    counts = counts.scatter_add_(0, places, torch.ones_like(places)).view(b, c, bins)  # bincount waits for a GPU
    up_to = counts.cumsum(dim=2)
    total = up_to[..., -1:]
    step = torch.where(up_to < total, up_to, 0).amax(dim=2, keepdim=True) // WHITE
    below = up_to - counts
    levels = torch.arange(bins, device=images.device)
    table = torch.where(step > 0, (step // 2 + below) // step.clamp_min(1), levels)
    return _look_up(images, table)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the top bits of each value (``ImageOps.posterize``)."""
    step = _per_image(2.0 ** (8 - bits), images)
    return (images / step).floor_().mul_(step)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Replace every value ``x`` at or above the threshold by ``255 - x`` (``ImageOps.solarize``).

    A ``torch.where`` on noise was measured to take three times as long.
    """
    bright = images >= _per_image(threshold, images)
    return bright.to(images.dtype).mul_(WHITE).sub_(images).abs_()


def affine(images: Tensor, matrix: Tensor) -> Tensor:
    """Read the value at (x, y) from ``matrix @ (x, y, 1)`` of the image (``Image.transform(AFFINE, BILINEAR)``).

    The centre of the top left pixel is (1/2, 1/2). Reads outside the image are black; those inside that lack a
    neighbour repeat the border.

    matrix: float64 (b, 2, 3).
    """
    h, w = images.shape[2:]
    x, y = (torch.arange(length, device=matrix.device) + 0.5 for length in (w, h))
    scaled = matrix * (2 / matrix.new_tensor([w, h])[:, None])  # the image spans -1 to 1
    along_x = scaled[..., 0, None] * x
    along_y = scaled[..., 1, None] * y + scaled[..., 2, None] - 1
    along_x, along_y = (send(along.to(images.dtype), images.device) for along in (along_x, along_y))
    places = along_x[:, :, None] + along_y[..., None]
    grid = places.permute(0, 2, 3, 1)
    values = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    across, down = (places.abs() < 1).split(1, dim=1)
    return values.add_(TRUNCATION).floor_().mul_(across & down)


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from gray (``ImageEnhance.Color``)."""
    return _blend(_gray(images), images, factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from the mean gray value, rounded (``ImageEnhance.Contrast``)."""
    mean = _gray(images).mean(dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return _blend((mean + 0.5).floor_().to(images.dtype), images, factor)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from black (``ImageEnhance.Brightness``)."""
    return _blend(images.new_zeros(1), images, factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Move away from the mean of each pixel, of weight 5, and its 8 neighbours (``ImageEnhance.Sharpness``).

    The outermost pixels stay as they are.
    """
    smooth = images.clone()
    if min(images.shape[2:]) > 2:
        rows = images[..., :-2, :] + images[..., 1:-1, :] + images[..., 2:, :]
        total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
        total.add_(images[..., 1:-1, 1:-1], alpha=4)
        smooth[..., 1:-1, 1:-1] = total.div_(13).add_(0.5).floor_()
    return _blend(smooth, images, factor)


def _blend(base: Tensor, images: Tensor, factor: Tensor) -> Tensor:
    """Return ``floor(clamp(base + factor (x - base), 0, 255))`` (``Image.blend``)."""
    return (images - base).mul_(_per_image(factor.float(), images)).add_(base).clamp_(0, WHITE).floor_()


def _gray(images: Tensor) -> Tensor:
    """Return the weighted sum of red, green and blue, rounded, (b, 1, h, w) (``Image.convert("L")``)."""
    red, green, blue = images.long().split(1, dim=1)
    weighted = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return ((weighted + 2**15) >> 16).to(images.dtype)


def _look_up(images: Tensor, table: Tensor) -> Tensor:
    """Replace each value of each channel by its entry in a table (b, 3, 256), cut to 0..255 and rounded down."""
    table = table.clamp(0, WHITE).floor().to(images.dtype)
    return table.gather(2, images.flatten(2).long()).view_as(images)


def _per_image(numbers: Tensor, images: Tensor) -> Tensor:
    """Bring (b,) to the images' device and type, shaped to multiply (b, 3, h, w)."""
    return send(numbers.to(images.dtype), images.device).view(-1, 1, 1, 1)
