"""Features of the images of a store: encoder in evaluation mode, no gradient, no augmentation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from covary.data import ImageStore
from covary.errors import InputError

RGB = tuple[float, float, float]


@torch.no_grad()
def extract(
    encoder: nn.Module,
    store: ImageStore,
    *,
    mean: RGB,
    std: RGB,
    device: torch.device,
    batch_size: int = 256,
    rows: Tensor | None = None,
) -> Tensor:
    """Return float32 (n, D) on the CPU: what the encoder gives for ``(image / 255 - mean) / std``.

    The encoder works in evaluation mode on ``device``; mode and device of its parts are put back afterwards.

    store: images of one size (``Fit.evaluate``). rows: int64, which of them; all where None.

    Raises InputError: the encoder fails on such images, or does not return (b, D) for b images.
    """
    chosen = torch.arange(len(store)) if rows is None else rows
    shift, scale = (torch.tensor(values, device=device).view(3, 1, 1) for values in (mean, std))
    parts = []
    with _evaluating(encoder, device):
        for batch in chosen.split(batch_size):
            images, _ = store.images(batch)
            parts.append(_forward(encoder, (images.to(device).float() / 255 - shift) / scale).float().cpu())
    return torch.cat(parts)


def _forward(encoder: nn.Module, images: Tensor) -> Tensor:
    try:
        features = encoder(images)
    except (RuntimeError, ValueError, AssertionError) as error:  # networks refuse a size in any of these ways
        advice = "lower batch_size" if isinstance(error, torch.OutOfMemoryError) else "check image_size"
        raise InputError(
            f"The encoder cannot take images of shape {tuple(images.shape)} ({_first_line(error)}); {advice}."
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
        kind = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(
            f"The encoder returned {kind} for {len(images)} images; expected a tensor ({len(images)}, D), "
            "such as the output of global average pooling."
        )
    return features


@contextmanager
def _evaluating(encoder: nn.Module, device: torch.device) -> Iterator[None]:
    """Hold an encoder in evaluation mode on a device; put modes and device back."""
    modes = [(module, module.training) for module in encoder.modules()]
    home = next((tensor.device for tensor in encoder.parameters()), device)
    encoder.eval().to(device)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        encoder.to(home)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
