"""Encoders by name, and their weights."""

import importlib.util
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast, get_args

from torch import Tensor, nn

from covary.errors import InputError, did_you_mean
from covary.nets.resnet import Stem, small_resnet, torchvision_resnet

ENCODERS: dict[str, Callable[..., tuple[nn.Module, int]]] = {
    "resnet8": partial(small_resnet, 1),
    "resnet14": partial(small_resnet, 2),
    "resnet18": partial(torchvision_resnet, "resnet18", 512),
    "resnet34": partial(torchvision_resnet, "resnet34", 512),
    "resnet50": partial(torchvision_resnet, "resnet50", 2048),
    "resnet101": partial(torchvision_resnet, "resnet101", 2048),
}
PREFIXES = re.compile(r"^(?:module\.|_orig_mod\.)+")  # DistributedDataParallel's and torch.compile's


def build_encoder(name: str, *, stem: Stem = "imagenet") -> tuple[nn.Module, int]:
    """Return an encoder with random weights, images (b, 3, s, s) to features (b, D), and D.

    ``resnet18``, ``resnet34`` (D = 512), ``resnet50``, ``resnet101`` (D = 2048): torchvision's, ``fc`` an
    identity, so that the state dict has torchvision's names less the classifier; ``resnet8``, ``resnet14``
    (D = 128): small ones for a CPU. ``timm:NAME``: any model of timm without its classifier.

    stem: ``imagenet`` is a 7x7 convolution of stride 2 and a max-pool; ``cifar`` a 3x3 convolution of
    stride 1 without max-pool, for images of 32 px or so. timm's models keep their own stem and accept
    ``imagenet`` only.

    Nothing is ever downloaded.

    Raises ``InputError`` for an unknown name or stem, ``timm:`` without the extra, and ``timm:`` with stem
    ``cifar``.
    """
    if stem not in get_args(Stem):
        raise InputError(f"Unknown stem '{stem}'; known: imagenet, cifar.{did_you_mean(stem, get_args(Stem))}")
    if name.startswith("timm:"):
        return _timm_encoder(name.removeprefix("timm:"), stem=stem)
    if name not in ENCODERS:
        known = ", ".join(ENCODERS)
        raise InputError(f"Unknown encoder '{name}'; known: {known}, timm:NAME.{did_you_mean(name, ENCODERS)}")
    return ENCODERS[name](stem=stem)


def _timm_encoder(name: str, *, stem: Stem) -> tuple[nn.Module, int]:
    if importlib.util.find_spec("timm") is None:
        raise InputError(f"Encoder 'timm:{name}' needs timm; install it with: pip install 'covary[timm]'.")
    if stem != "imagenet":
        raise InputError(f"Encoder 'timm:{name}' has a stem of its own; leave the stem at 'imagenet'.")
    import timm

    if name not in timm.list_models():
        raise InputError(f"timm has no model '{name}'.{did_you_mean(name, timm.list_models())}")
    network = timm.create_model(name, pretrained=False, num_classes=0)
    return network, cast(int, network.head_hidden_size)  # num_features is the width before a head's hidden layer


def load_weights(module: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Fill ``module`` with the tensors of ``state``, which must match it name by name and shape by shape.

    Of the names only the prefixes ``module.`` and ``_orig_mod.`` are taken off, which
    ``DistributedDataParallel`` and ``torch.compile`` put before them. ``source`` is what the message calls
    the weights, a file's name for example.

    Raises ``InputError`` with counts and examples of missing, unexpected and misshapen tensors; nothing is
    loaded then.
    """
    given = {PREFIXES.sub("", name): tensor for name, tensor in state.items()}
    if len(given) < len(state):
        twice = sorted(name for name in given if sum(PREFIXES.sub("", other) == name for other in state) > 1)
        raise InputError(f"The weights of {source} hold {_told('twice', twice)}, with and without a prefix; keep one.")
    wanted = module.state_dict()
    shapes = {name: (tuple(given[name].shape), tuple(wanted[name].shape)) for name in given.keys() & wanted.keys()}
    faults = {
        "missing": sorted(wanted.keys() - given.keys()),
        "unexpected": sorted(given.keys() - wanted.keys()),
        "of another shape": sorted(f"{name} {has} not {is_}" for name, (has, is_) in shapes.items() if has != is_),
    }
    if any(faults.values()):
        told = "; ".join(_told(kind, names) for kind, names in faults.items() if names)
        fitting = [wanted[name].numel() for name, (has, is_) in shapes.items() if has == is_]
        share = sum(fitting) / sum(tensor.numel() for tensor in wanted.values())
        raise InputError(
            f"The weights of {source} do not fit this network: {len(fitting)} of its {len(wanted)} tensors "
            f"({share:.1%} of its numbers) fit; {told}. "
            "Name the encoder and the stem that they were trained with."
        )
    module.load_state_dict(given)


def _told(kind: str, names: list[str]) -> str:
    return f"{len(names)} {kind} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
