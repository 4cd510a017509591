"""What is measured, as values: named settings, and a setting as it is computed on a device."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import nn

from covary.data.cores import cores
from covary.errors import InputError, did_you_mean
from covary.methods import AbstractConfig
from covary.nets import build_encoder
from covary.nets.resnet import Stem
from covary.run import Precision, Run, default_run

Compile = Literal["off", "on"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """An encoder and the images that it sees: ``size`` pixels, ``batch`` of them a step."""

    encoder: str
    stem: Stem
    size: int
    batch: int = 256


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        "resnet8@32": Setting(encoder="resnet8", stem="imagenet", size=32),  # the encoder of the recipe demo
        "resnet8@32-cifar": Setting(encoder="resnet8", stem="cifar", size=32),  # small
        "resnet18@32": Setting(encoder="resnet18", stem="cifar", size=32),  # cifar10
        "resnet18@96": Setting(encoder="resnet18", stem="imagenet", size=96),  # stl10
        "resnet50@224": Setting(encoder="resnet50", stem="imagenet", size=224),  # imagenet100
    }
)
DEFAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType({"cpu": ("resnet8@32",), "cuda": tuple(SETTINGS)})


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long is measured, and with how many helpers.

    repeats:       rounds in which all that is compared takes turns.
    block_seconds: length of a turn, at least one step.
    processes:     how many train together in the part ``processes``.
    workers:       of each rival's loader; None: on a CPU as many as torch has threads, beside a GPU one a core.
    """

    repeats: int = 5
    block_seconds: float = 0.5
    processes: int = 2
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their domains."""
        for name, low in {"repeats": 1, "block_seconds": 0, "processes": 2}.items():
            if not low <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers is {self.workers}; expected 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A setting as it is computed, which is what a part measures.

    name:      of the setting.
    precision: fp32 or bf16.
    compile:   whether method and encoder are compiled.
    """

    name: str
    setting: Setting
    device: torch.device
    precision: Precision
    compile: Compile
    effort: Effort

    @property
    def title(self) -> str:
        """The words for the case in a report."""
        return f"{self.name}, batch {self.setting.batch}, {self.precision}, compile {self.compile}"

    @property
    def workers(self) -> int:
        """Workers of each rival's loader."""
        return self.effort.workers or (torch.get_num_threads() if self.device.type == "cpu" else cores())

    def run(self, method: str | AbstractConfig = "simclr") -> Run:
        """Return the resolved run of a method, with the paper's augmentation."""
        setting = self.setting
        run = replace(
            default_run("shapes", method=method, image_size=setting.size),
            encoder=setting.encoder,
            stem=setting.stem,
            batch_size=setting.batch,
            precision=self.precision,
            compile=self.compile,
        )
        return run.resolved(self.device)

    def encoder(self) -> tuple[nn.Module, int]:
        """Return the run's encoder on its own, as ``step.build`` lays it out, and its number of features."""
        encoder, features = build_encoder(self.setting.encoder, stem=self.setting.stem)
        return encoder.to(self.device).to(memory_format=torch.channels_last), features

    def compiled(self, module: nn.Module) -> nn.Module:
        """Compile a module where the run's method is."""
        if self.compile == "on":
            module.compile(dynamic=False)
        return module

    def autocast(self) -> torch.autocast:
        """Return the context of the run's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")


def choose_cases(
    names: Sequence[str] | None,
    *,
    device: torch.device,
    batch_size: int | None,
    precisions: Sequence[Precision],
    compiles: Sequence[Compile],
    effort: Effort,
) -> tuple[Case, ...]:
    """Return a case for each setting, precision and form asked for; equal ones once.

    names:      of ``SETTINGS``; None takes those of ``DEFAULTS`` for the device.
    batch_size: None takes the setting's.
    Raises InputError: an unknown name, none, or a batch that a step cannot be taken on.
    """
    chosen = choose("setting", DEFAULTS[device.type] if names is None else names, SETTINGS)
    choose("precision", precisions, get_args(Precision))
    choose("compile", compiles, get_args(Compile))
    cases = []
    for name in chosen:
        setting = SETTINGS[name] if batch_size is None else replace(SETTINGS[name], batch=batch_size)
        for precision in precisions:
            for form in compiles:
                case = Case(name=name, setting=setting, device=device, precision=precision, compile=form, effort=effort)
                cases.append(replace(case, precision=case.run("stl").precision))
    return tuple(dict.fromkeys(cases))


def choose(what: str, names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the names without repetition; raise InputError where one is unknown, or there is none."""
    for name in names:
        if name not in known:
            raise InputError(f"{what} '{name}' is unknown; expected {', '.join(known)}.{did_you_mean(name, known)}")
    if not names:
        raise InputError(f"No {what} is named; expected one or more of {', '.join(known)}.")
    return list(dict.fromkeys(names))
