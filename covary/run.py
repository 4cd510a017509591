"""Run: the frozen value that decides every number of a run."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy
import torch
import torchvision

from covary import config, dist
from covary.augment import TARGETS, Recipe, preset
from covary.data import native_size, normalization
from covary.errors import InputError, did_you_mean
from covary.methods import BASES, METHODS, AbstractConfig, AbstractMethod, Base
from covary.methods.own import check_name, load_method
from covary.nets import build_encoder
from covary.optim import OptimConfig
from covary.version import __version__, commit

Preset = Literal["paper", "official_code"]
Stem = Literal["auto", "imagenet", "cifar"]
Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that decides the numbers of a run; saved whole in run.json and rebuilt exactly from it."""

    data: str
    """Images: shapes, cifar10 and other torchvision sets, a folder of images or parquet files, wds:PATTERN, hf:NAME."""
    method: AbstractConfig
    """What is learned."""
    augment: Recipe
    """How views are made; augment.size is the image size of the run."""
    encoder: str = "resnet18"
    """Encoder by name: resnet8, resnet18, resnet50, ..., timm:NAME."""
    stem: Stem = "auto"
    """First layers of a ResNet: imagenet (7x7, stride 2, pooling) or cifar (3x3, stride 1); auto: cifar up to 64 px."""
    epochs: int = 200
    """Passes over the images; the last incomplete batch of each is dropped."""
    batch_size: int = 256
    """Images of a step, of all processes together."""
    accumulate: int = 1
    """Parts of a batch that follow each other, to save memory; a part finds its negatives in itself alone."""
    optim: OptimConfig = OptimConfig()
    """Optimiser and learning rate."""
    precision: Precision = "auto"
    """fp32, or bf16 autocast with losses in fp32; auto: bf16 on a GPU, fp32 on a CPU."""
    joint_pass: bool = False
    """Encode both views in one pass with common BatchNorm statistics; the authors of STL use one pass for each."""
    compile: Compile = "auto"
    """Compile method and loss with torch.compile; auto: in a long run, where measured to be faster."""
    sync_batchnorm: bool = True
    """Normalise over the images of all processes, so that a run on many equals a run on one."""
    seed: int = 0
    """Seed of weights, order and augmentation."""

    def __post_init__(self) -> None:
        """Refuse values that cannot train, and combinations that contradict each other."""
        for field in ("epochs", "batch_size", "accumulate"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}; expected 1 or more.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; expected a whole number in [0, 2**63).")
        self.method.check(self.augment)
        rows = 2 if self.augment.partners else 1
        if self.batch_size % (rows * self.accumulate):
            raise InputError(
                f"batch_size is {self.batch_size}; expected a multiple of {rows * self.accumulate}"
                f"{' (partners come in twos)' if rows == 2 else ''} for accumulate {self.accumulate}."
            )
        if self.batch_size < 2 * self.accumulate:
            raise InputError(
                f"batch_size is {self.batch_size}; expected at least {2 * self.accumulate} for accumulate "
                f"{self.accumulate}: an image is contrasted with another."
            )
        if self.optim.warmup_epochs > self.epochs:
            raise InputError(
                f"optim.warmup_epochs is {self.optim.warmup_epochs:g}; expected at most epochs ({self.epochs})."
            )

    def resolved(self, device: torch.device) -> "Run":
        """Return the run with what is left to ``auto`` decided: stem by image size, precision by device."""
        precision, stem = self.precision, self.stem
        if precision == "auto":
            precision = "bf16" if device.type == "cuda" else "fp32"
        if stem == "auto":
            stem = "cifar" if self.augment.size <= 64 and not self.encoder.startswith("timm:") else "imagenet"
        return replace(self, precision=precision, stem=stem)

    def build_method(self) -> AbstractMethod:
        """Return the method around its encoder, with weights from torch's random state; ``auto`` must be resolved."""
        if self.stem == "auto":
            raise ValueError("stem is auto; call resolved() first")
        encoder, features = build_encoder(self.encoder, stem=self.stem)
        method = self.method.build(encoder, features, self.augment)
        method.joint_pass = self.joint_pass
        return method

    def check_world(self, world: int) -> None:
        """Raise InputError unless the batch splits evenly over ``world`` processes."""
        unit = world * self.accumulate * (2 if self.augment.partners else 1)
        if self.batch_size % unit:
            raise InputError(
                f"batch_size {self.batch_size} does not split over {world} processes; expected a multiple of {unit}."
            )


def default_run(
    data: str,
    *,
    method: str | AbstractConfig = "stl",
    base: str | None = None,
    preset_name: Preset = "paper",
    targets: str | None = None,
    image_size: int | None = None,
) -> Run:
    """Return the run that a method, a preset and a SPEC lead to when nothing else is said.

    method:     see ``choose_method``.
    base:       name of the method's base; None takes the preset's.
    targets:    operations that features should co-vary with, a name of ``augment.TARGETS``; None takes the preset's.
    image_size: pixels; None takes the native size of the images (``data.native_size``).
    Raises InputError: unknown name, a method without a base, or a SPEC that cannot be read.
    """
    chosen = choose_method(method, base=base, preset_name=preset_name)
    size = native_size(data) if image_size is None else image_size
    mean, std = normalization(data)
    recipe = preset(preset_name, size=size, mean=mean, std=std)
    if targets is not None:
        if not chosen.needs & {"partners", "labels"}:
            raise InputError(f"method '{chosen.name}' learns from no target operations; leave out --targets {targets}.")
        recipe = replace(recipe, targets=TARGETS[_known("targets", targets, TARGETS)])
    on = getattr(chosen, "base", chosen)
    optim = OptimConfig(
        schedule_by="epoch" if preset_name == "official_code" else "step",
        constant_lr=on.constant_lr if isinstance(on, Base) else (),
    )
    return Run(data=data, method=chosen, augment=chosen.fit(recipe), optim=optim)


def choose_method(
    method: str | AbstractConfig, *, base: str | None = None, preset_name: Preset = "paper"
) -> AbstractConfig:
    """Return the configuration of a method, on a base by name where one is given.

    method: a name of ``METHODS``, a Python file that defines a method, or a configuration, which is taken as it is.
    Raises InputError: unknown name, a preset that the method does not have, a method without a base, or a
    configuration that has no name of its own.
    """
    if isinstance(method, str):
        own = method.endswith(".py")
        kind = load_method(method, known=METHODS) if own else METHODS[_known("method", method, METHODS)]
        method = kind.preset(preset_name)
    check_name(type(method), known=METHODS)
    if base is None:
        return method
    if "base" not in (field.name for field in fields(method)):
        raise InputError(
            f"method '{method.name}' builds on no base; leave out --base {base}, or choose a method that does, "
            "such as stl."
        )
    if preset_name != "paper":
        raise InputError(f"preset '{preset_name}' has a base of its own; leave out --base {base}, or --preset.")
    return replace(method, base=BASES[_known("base", base, BASES)].preset("paper"))


def _known(what: str, name: str, names: Mapping[str, Any]) -> str:
    """Return the name; raise ``InputError`` unless it is one of the names."""
    if name not in names:
        raise InputError(f"{what} '{name}' is unknown; expected one of {', '.join(names)}.{did_you_mean(name, names)}")
    return name


def run_from_json(content: dict[str, Any]) -> Run:
    """Rebuild the run from ``run.json``'s object under "run"."""
    return config.from_json(Run, content)


def environment(device: torch.device) -> dict[str, Any]:
    """Return what a number may depend on beside the run: versions, threads, device, processes, commit."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "covary": __version__,
        "commit": commit(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "processes": dist.world_size(),
    }
