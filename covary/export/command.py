"""``export``: a function of the folder of a finished run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch

from covary.errors import InputError, did_you_mean
from covary.export.graph import write_onnx
from covary.export.hub import write_huggingface
from covary.export.state_dict import write_timm, write_torchvision
from covary.export.trained import Trained, finished
from covary.export.transformation import write_transformation
from covary.export.written import Exported
from covary.written import check_free


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format. suffix: of its file, empty for a folder. write: checks and writes it."""

    suffix: str
    write: Callable[[Trained, Path], Exported]


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "torchvision": Format(suffix=".safetensors", write=write_torchvision),
        "timm": Format(suffix=".safetensors", write=write_timm),
        "onnx": Format(suffix=".onnx", write=write_onnx),
        "huggingface": Format(suffix="", write=write_huggingface),
        "transformation": Format(suffix=".safetensors", write=write_transformation),
    }
)


def export(run: str | Path, *, format: str, out: str | Path) -> Exported:
    """Write what a finished run has learned in a form that loads without covary; never as a pickle.

    run:    run folder.
    format: a name of ``FORMATS``: weights for torchvision's or timm's network, a graph, a folder for the hub, or the
            networks of STL behind the encoder.
    out:    file or folder to make.

    What was written is read back, and its features of random images are compared with the encoder's, before it takes
    its name; it is there whole or not at all.

    Raises InputError: an unknown format, no finished run, a format that the run has no form in, a missing package,
    ``out`` with another suffix or already there, or features that differ.
    """
    if format not in FORMATS:
        raise InputError(
            f"format '{format}' is unknown; expected one of {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}"
        )
    path, chosen = Path(out).expanduser(), FORMATS[format]
    check_free(path, suffix=chosen.suffix)
    with torch.random.fork_rng(devices=[]):  # networks start with random weights, which are replaced
        return chosen.write(finished(Path(run).expanduser()), path)
