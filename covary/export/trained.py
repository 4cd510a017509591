"""A finished run as the exports take it: its encoder, how its images are made, and what run.json says."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from covary.errors import InputError
from covary.evaluation.features import RGB
from covary.evaluation.source import Source, resolve
from covary.rundir import RunDir

RUN_FACTS = ("epochs", "batch_size", "precision", "seed")
INTERPOLATION = "bicubic"  # as evaluations resize images (``data.Fit.evaluate``)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run.

    folder:      the run folder.
    source:      its encoder, and its method when asked for.
    encoder:     the encoder in evaluation mode, on the CPU.
    name, stem:  the encoder as run.json names it.
    size, mean, std: of the images that the encoder takes.
    images:      the SPEC that it was trained on.
    method:      the name of its method.
    facts:       what else decided its numbers, by name.
    """

    folder: RunDir
    source: Source
    encoder: nn.Module
    name: str
    stem: str
    size: int
    mean: RGB
    std: RGB
    images: str
    method: str
    facts: Mapping[str, object]


def finished(path: Path) -> Trained:
    """Return the finished run of a folder.

    Raises InputError: there is no run, it is not finished, or its files are damaged.
    """
    if not path.is_dir():
        raise InputError(f"'{path}' is no run folder; export takes the folder of a finished run.")
    source = resolve(path)
    folder, size, mean, std = source.run, source.image_size, source.mean, source.std
    content = folder and folder.read_run()
    if not (folder and content and size and mean and std):
        raise InputError(f"'{path}' is no run folder; export takes the folder of a finished run.")
    run = content["run"]
    try:
        images, method, base = run["data"], run["method"]["name"], run["method"].get("base")
        facts = {"base": base and base["name"], **{name: run[name] for name in RUN_FACTS}}
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{folder.run_file} is damaged: it says nothing of {error}.") from error
    facts |= {name: content["environment"].get(name) for name in ("covary", "commit", "torch", "torchvision")}
    return Trained(
        folder=folder,
        source=source,
        encoder=source.encoder.eval(),
        name=run["encoder"],
        stem=run["stem"],
        size=size,
        mean=mean,
        std=std,
        images=images,
        method=method,
        facts=facts,
    )
