"""``torchvision`` and ``timm``: state dicts in safetensors, with the names of those libraries."""

import json
from pathlib import Path

import safetensors.torch

from covary.export import difference
from covary.export.libraries import Network, from_timm, from_torchvision
from covary.export.trained import INTERPOLATION, Trained
from covary.export.written import Exported
from covary.rundir import write_atomic


def write_torchvision(trained: Trained, out: Path) -> Exported:
    """Write the weights for torchvision's network."""
    return _write(trained, from_torchvision(trained.name, trained.stem), out, format="torchvision")


def write_timm(trained: Trained, out: Path) -> Exported:
    """Write the weights for timm's network."""
    return _write(trained, from_timm(trained.name, trained.stem), out, format="timm")


def weights(trained: Trained, network: Network, *, format: str) -> tuple[bytes, float]:
    """Return the encoder's weights as safetensors, and how far the network filled with them is from the encoder.

    Raises InputError: the difference is more than rounding.
    """
    content = safetensors.torch.save(trained.encoder.state_dict(), metadata=says(trained))
    network.module.load_state_dict(safetensors.torch.load(content), strict=True)
    found = difference.of_encoders(trained.encoder, network.module, size=trained.size)
    return content, difference.check(found, difference.WEIGHTS, format=format)


def says(trained: Trained) -> dict[str, str]:
    """Return what a file of weights says beside them: the network, and how its images are made."""
    return {
        "format": "pt",
        "encoder": trained.name,
        "stem": trained.stem,
        "image_size": str(trained.size),
        "interpolation": INTERPOLATION,
        "mean": json.dumps(trained.mean),
        "std": json.dumps(trained.std),
    }


def _write(trained: Trained, network: Network, out: Path, *, format: str) -> Exported:
    content, found = weights(trained, network, format=format)
    write_atomic(out, content)
    load = (
        "from safetensors.torch import load_file",
        f"model.load_state_dict(load_file({str(out)!r}))",
        "model.eval()",
    )
    return Exported(path=out, bytes=len(content), difference=found, lines=(*network.lines, *load))
