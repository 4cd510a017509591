"""``huggingface``: a folder that timm's hub loader takes, with a model card."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from covary.export import difference, transformation
from covary.export.card import Part, model_card
from covary.export.libraries import Network, from_timm
from covary.export.state_dict import weights
from covary.export.trained import INTERPOLATION, Trained
from covary.export.written import Exported
from covary.rundir import write_atomic
from covary.written import staged

WEIGHTS = "model.safetensors"


def write_huggingface(trained: Trained, out: Path) -> Exported:
    """Write ``config.json``, ``model.safetensors``, ``README.md`` and, of a run that has them, STL's own networks.

    timm's loader loads the folder, offline, and its features are compared, before the folder takes its name.

    Raises InputError: timm is missing or cannot build the encoder from its name, or features differ.
    """
    network = from_timm(trained.name, trained.stem, format="huggingface")
    content, _ = weights(trained, network, format="huggingface")
    parts = [Part(file=WEIGHTS, sha256=_sha256(content), lines=())]
    with staged(out) as folder:
        write_atomic(folder / WEIGHTS, content)
        write_atomic(folder / "config.json", json.dumps(_config(trained, network), indent=2) + "\n")
        if method := transformation.reading(trained):
            content, _ = transformation.packed(method)
            write_atomic(folder / transformation.FILE, content)
            lines = transformation.lines(method, transformation.FILE)
            parts.append(Part(file=transformation.FILE, sha256=_sha256(content), lines=lines))
        write_atomic(folder / "README.md", model_card(trained, parts))
        found = difference.of_encoders(trained.encoder, _loaded(folder), size=trained.size)
        difference.check(found, difference.WEIGHTS, format="huggingface")
        size = sum(file.stat().st_size for file in folder.iterdir())
    load = f"model = timm.create_model({f'local-dir:{out}'!r}, pretrained=True).eval()"
    return Exported(path=out, bytes=size, difference=found, lines=("import timm", load))


def _config(trained: Trained, network: Network) -> Mapping[str, Any]:
    """Return ``config.json`` in the layout of timm's hub folders: architecture, and how its images are made."""
    model: Any = network.module
    published = model.pretrained_cfg
    return {
        "architecture": trained.name.removeprefix("timm:"),
        "num_classes": 0,
        "num_features": model.num_features,
        "pretrained_cfg": {
            "input_size": [3, trained.size, trained.size],
            "fixed_input_size": published["fixed_input_size"],
            "interpolation": INTERPOLATION,
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": trained.mean,
            "std": trained.std,
            "num_classes": 0,
            "first_conv": published["first_conv"],
            "classifier": published["classifier"],
        },
    }


def _loaded(folder: Path) -> nn.Module:
    import timm

    return timm.create_model(f"local-dir:{folder.absolute()}", pretrained=True).eval()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
