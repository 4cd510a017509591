"""How other libraries build the network of an encoder: a module, and the lines that a user writes for it."""

from dataclasses import dataclass

import torchvision
from torch import nn

from covary.errors import InputError
from covary.export.packages import need

CIFAR_STEM = "model.conv1, model.maxpool = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity()"


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network of an encoder as a library builds it.

    module: it, with random weights, in evaluation mode.
    lines:  Python that imports what it needs and leaves the same as ``model``.
    """

    module: nn.Module
    lines: tuple[str, ...]


def from_torchvision(encoder: str, stem: str) -> Network:
    """Return torchvision's network of an encoder, ``fc`` an identity.

    Raises InputError: torchvision has none.
    """
    check_exists(encoder, stem, format="torchvision")
    module = torchvision.models.get_model(encoder, weights=None)
    module.fc = nn.Identity()
    lines = ("import torch, torchvision", f"model = torchvision.models.{encoder}()", "model.fc = torch.nn.Identity()")
    return _with_stem(module, lines, stem)


def from_timm(encoder: str, stem: str, *, format: str = "timm") -> Network:
    """Return timm's network of an encoder, without a classifier; its ResNets have torchvision's names.

    format: in which it is wanted.
    Raises InputError: timm has none, or is not installed.
    """
    check_exists(encoder, stem, format=format)
    need("timm", extra="timm", format=format)
    import timm

    name = encoder.removeprefix("timm:")
    module = timm.create_model(name, pretrained=False, num_classes=0)
    return _with_stem(module, ("import timm, torch", f'model = timm.create_model("{name}", num_classes=0)'), stem)


def check_exists(encoder: str, stem: str, *, format: str) -> None:
    """Raise InputError unless the library of a format has the network of an encoder.

    The stem ``cifar`` is a ResNet of torchvision or timm with two layers replaced, which a folder for timm's hub loader
    cannot say.
    """
    in_torchvision = encoder in torchvision.models.list_models(module=torchvision.models)
    in_timm = in_torchvision or encoder.startswith("timm:")
    exists = {
        "torchvision": in_torchvision,
        "timm": in_timm,
        "huggingface": in_timm and stem == "imagenet",
        "onnx": True,
    }
    if not exists[format]:
        raise InputError(
            f"Encoder '{encoder}' with stem '{stem}' has no form as {format}; "
            f"expected --format {', '.join(name for name, there in exists.items() if there)}."
        )


def _with_stem(module: nn.Module, lines: tuple[str, ...], stem: str) -> Network:
    if stem == "cifar":
        module.set_submodule("conv1", nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False))
        module.set_submodule("maxpool", nn.Identity())
        lines = (*lines, CIFAR_STEM)
    return Network(module=module.eval(), lines=lines)
