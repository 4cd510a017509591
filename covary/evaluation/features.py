"""Features of images: encoder in evaluation mode, no gradient; kept on disk by what they are a function of."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from covary.augment import Recipe, apply
from covary.data import ImageStore
from covary.device import send
from covary.errors import InputError
from covary.rundir import write_tensors

FORMAT = 1  # raise it when features of the same weights and images change; older files are then not read
RGB = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """An encoder, and how images are brought to it.

    size: pixels, height and width. mean, std: of the channels, for values in [0, 1]. device: where the encoder works.
    batch_size: images that it sees at once.
    """

    encoder: nn.Module
    size: int
    mean: RGB
    std: RGB
    device: torch.device
    batch_size: int

    def features(self, store: ImageStore, rows: Tensor | None = None) -> Tensor:
        """Return the features of images of a store, float32 (n, D) on the CPU (see ``extract``)."""
        return extract(
            self.encoder,
            store,
            mean=self.mean,
            std=self.std,
            device=self.device,
            batch_size=self.batch_size,
            rows=rows,
        )

    @torch.no_grad()
    def views(self, store: ImageStore, rows: Tensor, params: Tensor, recipe: Recipe) -> Tensor:
        """Return the features of views of images of a store, float32 (v, n, D) on the CPU.

        rows: int64 (n,). params: float32 (v, n, P), how each view is made (``augment.apply``).
        """
        count, parts = len(params), []
        with evaluating(self.encoder, self.device):
            for places in torch.arange(len(rows)).split(max(1, self.batch_size // count)):
                images, sizes = store.images(rows[places])
                views = apply(images.to(self.device), params[:, places], recipe, sizes=sizes)
                few = views.flatten(0, 1).split(self.batch_size)
                features = torch.cat([encode(self.encoder, part).float().cpu() for part in few])
                parts.append(features.unflatten(0, (count, len(places))))
        features = torch.cat(parts, dim=1)
        check_finite(features.flatten(0, 1), f"views of {store.split} images")
        return features

    @property
    def says_images(self) -> str:
        """The words of a protocol line about the images."""
        mean, std = ("/".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"images at {self.size} px (shorter side, bicubic; centre crop), mean {mean}, std {std}"


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
    fetched: list[Tensor] = []
    newest = torch.empty(0, device=device)
    with evaluating(encoder, device):
        for index, batch in enumerate(chosen.split(batch_size)):
            images = send(store.images(batch)[0], device).to(torch.float32, memory_format=torch.channels_last)
            features = encode(encoder, images.div_(255).sub_(shift).div_(scale)).float()
            if index > 0:
                fetched.append(newest.cpu())  # of the batch before: a GPU works on this one meanwhile
            newest = features
    return torch.cat([*fetched, newest.cpu()])


def check_finite(features: Tensor, what: str) -> None:
    """Raise InputError where features (n, D) of some images are not finite; what: the words for the images."""
    broken = int((~features.isfinite()).any(dim=1).sum())
    if broken:
        raise InputError(
            f"The features of {broken} of {len(features)} {what} are not finite; "
            "the encoder has diverged, or its weights are not for this normalisation."
        )


def kept(folder: Path, key: object, compute: Callable[[], Tensor]) -> Tensor:
    """Return a tensor from the file of ``key`` in a folder; compute it and write the file where there is none.

    key: everything that the tensor is a function of; its ``repr`` names the file. A damaged file is written anew.
    """
    file = folder / f"{hashlib.blake2b(repr((key, FORMAT)).encode(), digest_size=16).hexdigest()}.safetensors"
    if file.is_file():
        with suppress(OSError, safetensors.SafetensorError, KeyError):
            return safetensors.torch.load_file(file)["features"]
    features = compute()
    write_tensors(file, {"features": features})
    return features


def fingerprint(module: nn.Module) -> str:
    """Return a SHA-256 of a network: its layers as printed, and name, type, shape and bytes of every tensor."""
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def encode(encoder: nn.Module, images: Tensor) -> Tensor:
    """Return what an encoder gives for normalised images (b, 3, s, s): features (b, D).

    Raises InputError: the encoder fails on such images, or does not return (b, D).
    """
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
def evaluating(encoder: nn.Module, device: torch.device) -> Iterator[None]:
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
