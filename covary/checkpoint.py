"""A committed checkpoint: its two files, and what confirms that they are whole."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from covary.disk import read_file

SCHEMA = 1
DAMAGE = (  # what reading a checkpoint raises where its files are missing or hold other bytes
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
    ValueError,
    KeyError,
    TypeError,
    RecursionError,
    safetensors.SafetensorError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A committed and verified checkpoint: its step, its tensors and what the manifest says beside them."""

    step: int
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def read_checkpoint(folder: Path, step: int) -> Checkpoint:
    """Return the checkpoint of a step.

    Raises one of ``DAMAGE``: it is not whole. OSError: the disk does not give it.
    """
    manifest = json.loads(read_file(folder / "manifest.json").decode())
    if not isinstance(manifest, dict):
        raise ValueError("manifest.json is no object")
    if manifest.pop("sha256") != digest(manifest):
        raise ValueError("manifest.json differs from its own SHA-256")
    state = read_file(folder / "state.safetensors")
    expected = manifest["files"]["state.safetensors"]["sha256"]
    if hashlib.sha256(state).hexdigest() != expected:
        raise ValueError("state.safetensors differs from the manifest's SHA-256")
    if manifest["schema"] != SCHEMA or manifest["step"] != step:
        raise ValueError(f"the manifest names schema {manifest['schema']} and step {manifest['step']}")
    return Checkpoint(step=step, tensors=safetensors.torch.load(state), meta=manifest["meta"])


def digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of a manifest, which is kept in it."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
