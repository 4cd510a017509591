"""SOURCE: what to evaluate. Each kind becomes an encoder and what is known about the images it was trained on."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from covary import config
from covary.augment import Recipe
from covary.dist import is_main
from covary.errors import InputError, did_you_mean
from covary.evaluation.features import RGB, fingerprint
from covary.evaluation.pretrained import architecture, from_timm, from_torchvision
from covary.evaluation.weights import load_file, read
from covary.keyed import derive
from covary.methods import AbstractMethod
from covary.nets import load_weights
from covary.nets.resnet import Stem
from covary.run import run_from_json
from covary.rundir import RunDir

SCHEMES = ("timm", "torchvision", "untrained")


@dataclass(frozen=True, kw_only=True)
class Source:
    """An encoder to evaluate.

    name:       the SOURCE as the user wrote it, or the class of a module.
    encoder:    images (b, 3, s, s) to features (b, D).
    image_size, mean, std: those it was trained with; None where the source does not say.
    run:        the run folder that its results belong to; None elsewhere.
    transient:  a module of a Python program, of which the layers as printed need not say all.
    augment:    the recipe of a run, or of the run that it is the untrained encoder of, as JSON; None elsewhere.
    """

    name: str
    encoder: nn.Module
    image_size: int | None = None
    mean: RGB | None = None
    std: RGB | None = None
    run: RunDir | None = None
    transient: bool = False
    augment: Mapping[str, Any] | None = None

    @cached_property
    def weights(self) -> str:
        """SHA-256 of the encoder's layers and weights (``features.fingerprint``)."""
        return fingerprint(self.encoder)

    @cached_property
    def recipe(self) -> Recipe | None:
        """How the views of the run were made; None where the source is none."""
        return None if self.augment is None else config.from_json(Recipe, self.augment, where="augment")

    @cached_property
    def method(self) -> AbstractMethod | None:
        """The whole trained method of a run, in evaluation mode on the CPU; None for other sources.

        Raises InputError: the method's file is missing or damaged, or its class is not known here.
        """
        if self.run is None or (content := self.run.read_run()) is None:
            return None
        run = run_from_json(content["run"])
        if not self.run.method_file.is_file():
            raise InputError(f"The run {self.run.path} has no {self.run.method_file.name}; restore it, or train again.")
        with torch.random.fork_rng(devices=[]):  # its initial weights, which are replaced
            method = run.build_method().eval()
        load_weights(method, read(self.run.method_file), source=str(self.run.method_file))
        return method


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """What an evaluation needs to know of a run, by the names of run.json."""

    encoder: str
    stem: Stem
    size: int
    mean: RGB
    std: RGB


def resolve(
    source: str | Path | nn.Module,
    *,
    encoder: str | None = None,
    stem: Stem | None = None,
    prefix: str = "",
    ignore: Sequence[str] = (),
    seed: int = 0,
) -> Source:
    """Return the encoder that a SOURCE names.

    ========================  =====================================================================================
    a run folder              its trained encoder, image size and normalisation
    a weights file            ``encoder`` with weights of it, all or none (``weights.load_file``: ``prefix``,
                              ``ignore``); a line on standard error says which were read and what was left out
    ``timm:NAME``             timm's published weights, image size and normalisation
    ``torchvision:NAME@W``    torchvision's published weights W, the newest without ``@W``
    ``untrained:NAME``        an encoder by name with random weights drawn from ``seed``
    ``untrained:RUN``         the encoder of a run with random weights drawn from ``seed``
    a module (Python)         as it is
    ========================  =====================================================================================

    encoder: of a weights file: a name of ``nets.build_encoder`` or ``torchvision:NAME``. stem: of a weights file or of
    ``untrained:NAME``.

    Raises InputError: nothing of the kind is there, it is damaged, or an option does not go with it.
    """
    options = {"encoder": encoder, "stem": stem, "prefix": prefix, "ignore": ignore}
    if isinstance(source, nn.Module):
        _refuse(options, "a module")
        return Source(name=type(source).__name__, encoder=source, transient=True)
    scheme, _, rest = str(source).partition(":")
    if scheme == "untrained":
        return _untrained(str(source), rest, options, seed=seed)
    if scheme in SCHEMES:
        _refuse(options, f"'{scheme}:NAME'")
        found = from_timm(rest) if scheme == "timm" else from_torchvision(rest)
        return Source(
            name=str(source), encoder=found.encoder, image_size=found.image_size, mean=found.mean, std=found.std
        )
    path = Path(source).expanduser()
    if path.is_dir():
        _refuse(options, "a run folder")
        return replace(_of_finished_run(RunDir(path)), name=str(source))
    if not path.is_file():
        raise InputError(
            f"'{source}' is no run folder, weights file, {', '.join(f'{s}:NAME' for s in SCHEMES)}."
            f"{did_you_mean(scheme, SCHEMES)}"
        )
    if encoder is None:
        raise InputError(f"{path} holds weights alone; name their network with encoder, such as resnet18.")
    network = architecture(encoder, stem=stem)
    line = load_file(network, path, prefix=prefix, ignore=ignore)
    if is_main():
        print(line, file=sys.stderr)
    return Source(name=str(source), encoder=network)


def _of_finished_run(folder: RunDir) -> Source:
    """Return the encoder of a finished run."""
    built = _of_run(folder)
    if not folder.encoder_file.is_file():
        raise InputError(
            f"The run {folder.path} is not finished: {folder.encoder_file.name} is missing; "
            "run its pretrain command again to continue it."
        )
    load_weights(built.encoder, read(folder.encoder_file), source=str(folder.encoder_file))
    return built


def _untrained(source: str, rest: str, options: dict[str, Any], *, seed: int) -> Source:
    path = Path(rest).expanduser()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "untrained"))
        if path.is_dir():
            _refuse(options, "a run folder")
            return replace(_of_run(RunDir(path)), name=source, run=None)
        _refuse({**options, "stem": None}, "'untrained:NAME'")
        return Source(name=source, encoder=architecture(rest, stem=options["stem"]))


def _of_run(folder: RunDir) -> Source:
    """Return the encoder of a run with random weights."""
    content = folder.read_run()
    if content is None:
        raise InputError(f"{folder.path} is no run folder: {folder.run_file.name} is missing.")
    try:
        run, augment = content["run"], content["run"]["augment"]
        keys = {"encoder": run["encoder"], "stem": run["stem"]} | {k: augment[k] for k in ("size", "mean", "std")}
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder.run_file} is damaged: it says nothing of {error}.") from error
    trained = config.from_json(_Trained, keys, where=str(folder.run_file))
    return Source(
        name=str(folder.path),
        encoder=architecture(trained.encoder, stem=trained.stem),
        image_size=trained.size,
        mean=trained.mean,
        std=trained.std,
        run=folder,
        augment=augment,
    )


def _refuse(options: dict[str, Any], kind: str) -> None:
    """Raise InputError for an option that was given and does not go with this kind of SOURCE."""
    given = [name for name, value in options.items() if value]
    if given:
        raise InputError(f"{' and '.join(given)} does not go with {kind}, which knows its encoder; leave it out.")
