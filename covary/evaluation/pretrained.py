"""Encoders that other libraries publish, without their classifier, and how their images were normalised."""

import importlib.util
from dataclasses import dataclass

import torchvision
from torch import nn

from covary.errors import InputError, did_you_mean
from covary.evaluation.features import RGB
from covary.nets import build_encoder
from covary.nets.resnet import Stem


@dataclass(frozen=True)
class Pretrained:
    """An encoder, and the image size and normalisation that it was trained with."""

    encoder: nn.Module
    image_size: int
    mean: RGB
    std: RGB


def from_timm(name: str) -> Pretrained:
    """Return timm's model with its published weights; ``NAME.TAG`` chooses among several.

    Raises InputError: timm is not installed, an unknown name or tag, or weights that are not at hand and cannot be
    downloaded.
    """
    if importlib.util.find_spec("timm") is None:
        raise InputError(f"'timm:{name}' needs timm; install it with: pip install 'covary[timm]'.")
    import timm
    from timm.data.config import resolve_model_data_config

    if not timm.is_model(name):
        raise InputError(f"timm has no model '{name}'.{did_you_mean(name, timm.list_models())}")
    try:
        model = timm.create_model(name, pretrained=True, num_classes=0)
    except (OSError, RuntimeError) as error:
        raise _unavailable(f"timm:{name}", error) from error
    config = resolve_model_data_config(model)
    return Pretrained(model, config["input_size"][-1], config["mean"], config["std"])


def from_torchvision(spec: str) -> Pretrained:
    """Return torchvision's classification model ``NAME@WEIGHTS`` with its published weights; the newest without ``@``.

    Raises InputError: an unknown name or weights, or weights that are not at hand and cannot be downloaded.
    """
    name, _, wanted = spec.partition("@")
    _check_torchvision_name(name)
    published = torchvision.models.get_model_weights(name)
    known = [*published.__members__, "DEFAULT"]
    if (wanted or "DEFAULT") not in known:
        raise InputError(
            f"torchvision has no weights '{wanted}' for '{name}'; expected one of {', '.join(known)}."
            f"{did_you_mean(wanted, known)}"
        )
    weights = published[wanted or "DEFAULT"]
    preset = weights.transforms()
    try:
        model = torchvision.models.get_model(name, weights=weights)
    except (OSError, RuntimeError) as error:
        raise _unavailable(f"torchvision:{spec}", error) from error
    return Pretrained(_headless(name, model), preset.crop_size[0], _rgb(preset.mean), _rgb(preset.std))


def architecture(name: str, *, stem: Stem | None) -> nn.Module:
    """Return an encoder with random weights: ``torchvision:NAME``, or any name that ``nets.build_encoder`` knows.

    stem: of a ResNet of ``build_encoder``; its default where None.

    Raises InputError: an unknown name, or a stem where there is none to choose.
    """
    if not name.startswith("torchvision:"):
        encoder, _ = build_encoder(name) if stem is None else build_encoder(name, stem=stem)
        return encoder
    if stem is not None:
        raise InputError(f"Encoder '{name}' has a stem of its own; leave out stem.")
    name = name.removeprefix("torchvision:")
    _check_torchvision_name(name)
    return _headless(name, torchvision.models.get_model(name, weights=None))


def _check_torchvision_name(name: str) -> None:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise InputError(f"torchvision has no classification model '{name}'.{did_you_mean(name, known)}")


def _headless(name: str, model: nn.Module) -> nn.Module:
    """Replace the last linear layer, the classifier of every torchvision model that has one, by an identity."""
    linear = [place for place, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise InputError(f"'torchvision:{name}' has no linear classifier, hence no features before it.")
    model.set_submodule(linear[-1], nn.Identity())
    return model


def _rgb(values: list[float]) -> RGB:
    red, green, blue = values
    return red, green, blue


def _unavailable(source: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"The weights of '{source}' are not at hand ({reason}); download them where there is a network, then give the "
        f"file as SOURCE with encoder '{source.partition('@')[0]}'."
    )
