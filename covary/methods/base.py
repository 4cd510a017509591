"""What a method is, and the few lines that all methods share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from covary import dist
from covary.errors import InputError, did_you_mean
from covary.types import Views


class AbstractMethod(ABC, nn.Module):
    """A method: an encoder and whatever trains it. Subclasses implement ``forward``.

    encoder: images (b, 3, s, s) to features (b, D); the part that is kept after training.
    """

    encoder: nn.Module

    @abstractmethod
    def forward(self, views: Views) -> dict[str, Tensor]:
        """Return ``loss``, the scalar to minimise, and detached scalars to log.

        The logged scalars are the method's loss terms by name, unweighted, and ``spread``. Over several
        processes every one returns the values of the whole batch.
        """

    def after_step(self) -> None:
        """Update what follows the weights, such as a teacher; called after every optimiser step."""
        return


def check_views(views: Views, *, method: str, partners: bool) -> None:
    """Raise ``InputError`` unless there are two views (2, b, 3, s, s), and partners where they are needed.

    Partners stand in rows 2i and 2i+1, hence an even b; with several processes b is each one's share.
    """
    shape = tuple(views.images.shape)
    if len(shape) != 5 or shape[0] != 2 or shape[1] == 0 or shape[2] != 3:
        raise InputError(f"{method} needs two views of images, (2, b, 3, s, s), got {shape}.")
    if partners and not views.partners:
        raise InputError(
            f"{method} learns from partners, images that went through the same transformations; there are none. "
            "Say in the recipe what they share, for example partners=True, targets=('crop', 'jitter')."
        )
    if partners and shape[1] % 2:
        raise InputError(f"{method} needs an even batch of partners in every process, got {shape[1]} images.")


def encode(encoder: nn.Module, images: Tensor, *, joint_pass: bool) -> Tensor:
    """Return the features (v, b, D) of views (v, b, 3, s, s).

    One encoder pass per view, each with BatchNorm statistics of its own, or one joint pass over all of them.
    """
    if joint_pass:
        return encoder(images.flatten(0, 1)).unflatten(0, images.shape[:2])
    return torch.stack([encoder(view) for view in images])


@torch.no_grad()
def spread(features: Tensor) -> Tensor:
    """Return how far features (b, D) fill their space, over the batch of all processes.

    sqrt(D) times the mean over dimensions of the standard deviation of the features divided by their
    Euclidean norm: about 1 when they point everywhere, 0 when they have collapsed to one point. Source:
    SimSiam (arXiv 2011.10566) section 4.1.
    """
    directions = F.normalize(features.float(), dim=1)
    centred = directions - dist.mean_over_ranks(directions.mean(dim=0))
    deviation = dist.mean_over_ranks(centred.square().mean(dim=0)).sqrt()
    return deviation.mean() * features.shape[1] ** 0.5


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float], *, features: Tensor) -> dict[str, Tensor]:
    """Return what ``AbstractMethod.forward`` returns: weighted sum of the terms, terms, spread."""
    loss = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
    return {"loss": loss, **{name: term.detach() for name, term in terms.items()}, "spread": spread(features)}


def head_widths(width_in: int, hidden: int | None, *, layers: int, width_out: int, features: int) -> list[int]:
    """Return the widths of a head of ``layers`` linear layers; ``hidden=None`` takes the paper's for the encoder.

    The paper's hidden width is 512 for ResNet-18 (D = 512) and 2048 for ResNet-50 (D = 2048), STL appendix
    E.1, E.2; encoders of other sizes take that of the nearer: 512 up to D = 512, 2048 above (ours).
    """
    hidden = hidden or (512 if features <= 512 else 2048)
    return [width_in, *[hidden] * (layers - 1), width_out]


def check_preset(name: str, known: tuple[str, ...]) -> None:
    """Raise ``InputError`` unless ``name`` is one of the known presets."""
    if name not in known:
        raise InputError(f"Unknown preset '{name}'; known: {', '.join(known)}.{did_you_mean(name, known)}")


def require(config: object, names: str, *, at_least: float, above: bool = False) -> None:
    """Raise ``InputError`` for a field that is below ``at_least`` (or equals it, if ``above``) or not finite.

    names: the fields, with spaces between them; a field that is ``None`` passes.
    """
    for name in names.split():
        value = getattr(config, name)
        if value is None or (math.isfinite(value) and (value > at_least if above else value >= at_least)):
            continue
        raise InputError(f"{name} is {value}; expected {f'above {at_least}' if above else f'{at_least} or more'}.")
