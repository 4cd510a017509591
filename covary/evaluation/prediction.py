"""Transformation prediction: what was done to an image, read off the features of a pair by a probe.

STL (arXiv 2501.08712) section 4.2, table 5: the parameters of crop and colour jitter (MSE) and the type of a
transformation (accuracy) from the features of pairs, on test images. INFERRED, as it is silent: both views of a pair
are transformed, and the probe's target is the relative label in AugSelf's coding (``augment.Labels``), which makes the
mean predictor's errors those that the paper's numbers suggest; types are crop, brightness, contrast, saturation and
hue, each alone, from an image as it is; the probe is fitted on training images: ridge regression and logistic
regression (linear), or two hidden layers as in SIE (arXiv 2302.10283) (mlp).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from covary.errors import InputError, did_you_mean
from covary.evaluation.linear import LinearOptions, linear
from covary.evaluation.metrics import accuracy
from covary.evaluation.probes import fit_mlp
from covary.evaluation.ridge import fit_ridge
from covary.evaluation.transformations import TYPES, Ranges

Probe = Literal["linear", "mlp"]

VALIDATION = 0.1  # of the training images, to choose penalties and the epoch by


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """What a result of transformation prediction depends on beside encoder and images."""

    probes: tuple[Probe, ...] = ("linear", "mlp")
    """Probes to fit."""
    train_images: int = 5000
    """Training images, of which one pair each is made; 0 takes all."""
    images: int = 2000
    """Test images, of which one pair each is made; 0 takes all."""
    hidden: int = 1024
    """Width of the two hidden layers of mlp."""
    epochs: int = 30
    """Passes of mlp over its pairs."""
    ranges: Ranges = "auto"
    """Ranges of crop and jitter: paper, or auto, those of the run where there is one."""

    def __post_init__(self) -> None:
        """Raise InputError for values that no probe can be fitted with."""
        for probe in self.probes:
            if probe not in get_args(Probe):
                known = get_args(Probe)
                raise InputError(
                    f"prediction probe '{probe}' is unknown; expected {' or '.join(known)}.{did_you_mean(probe, known)}"
                )
        if not self.probes or len(set(self.probes)) < len(self.probes):
            raise InputError(f"prediction probes are {self.probes}; expected one or two different ones.")
        for name, least in (("train_images", 20), ("images", 2)):
            if 0 != getattr(self, name) < least:
                raise InputError(f"prediction {name} is {getattr(self, name)}; expected {least} or more, or 0 for all.")
        for name in ("hidden", "epochs"):
            if getattr(self, name) < 1:
                raise InputError(f"prediction {name} is {getattr(self, name)}; expected 1 or more.")
        if self.ranges not in get_args(Ranges):
            raise InputError(f"prediction ranges is '{self.ranges}'; expected {' or '.join(get_args(Ranges))}.")


@dataclass(frozen=True)
class Pairs:
    """What a probe is given, and what it should say: train and test rows.

    inputs: float (n, p) each. labels: float (n, L), relative labels. types: int64 (n,), indices into ``TYPES``;
    typed:  float (n, p), inputs of the pairs that the types are those of.
    """

    inputs: tuple[Tensor, Tensor]
    labels: tuple[Tensor, Tensor]
    typed: tuple[Tensor, Tensor]
    types: tuple[Tensor, Tensor]


def predict_transformations(
    pairs: Pairs, probe: Probe, names: Sequence[str], *, validation: Tensor, options: PredictionOptions, seed: int
) -> dict[str, float]:
    """Fit a probe on the training pairs; return its errors and its accuracy on the test pairs.

    names: of the parameters, such as ``crop.height``, whose beginnings are their groups. validation: int64, rows of the
    training pairs. Returns what ``errors`` does, and ``type_accuracy``.
    """
    guess = _regression(pairs, probe, validation, options, seed)
    found = errors(guess(pairs.inputs[1]), pairs.labels[1], names)
    found["type_accuracy"] = _type_accuracy(pairs, probe, validation, options, seed)
    return found


def baseline(pairs: Pairs, names: Sequence[str]) -> dict[str, float]:
    """Return what needs no features: the errors of the mean of the training labels, the accuracy of a guess."""
    found = errors(pairs.labels[0].mean(dim=0).expand_as(pairs.labels[1]), pairs.labels[1], names)
    return {**found, "type_accuracy": 1 / len(TYPES)}


def errors(guesses: Tensor, labels: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Return ``mse`` and ``r2`` of each parameter, of each group, and of all, on test pairs.

    mse: of a group, the mean over its parameters. r2: 1 - sum of squared errors / sum of squared deviations from the
    test mean of each parameter, both over all parameters of the group; left out where none of them varies. Groups are
    crop and color.

    guesses, labels: float (n, L). names: of the L parameters; ``jitter.hue`` belongs to color, and becomes color.hue.
    """
    named = [name.replace("jitter.", "color.", 1) for name in names]
    squared = (guesses.double() - labels.double()).square().mean(dim=0)
    variance = labels.double().var(dim=0, correction=0)
    groups = {group: [i for i, name in enumerate(named) if name.startswith(f"{group}.")] for group in ("crop", "color")}
    places = {**groups, "all": list(range(len(named))), **{name: [i] for i, name in enumerate(named)}}
    places = {name: rows for name, rows in places.items() if rows}
    varied = {name: rows for name, rows in places.items() if variance[rows].sum() > 0}
    mse = {f"mse.{name}": squared[rows].mean().item() for name, rows in places.items()}
    r2 = {f"r2.{name}": 1 - (squared[rows].sum() / variance[rows].sum()).item() for name, rows in varied.items()}
    return mse | r2


def _regression(
    pairs: Pairs, probe: Probe, validation: Tensor, options: PredictionOptions, seed: int
) -> Callable[[Tensor], Tensor]:
    inputs, labels = pairs.inputs[0], pairs.labels[0].to(pairs.inputs[0])
    if probe == "linear":
        return fit_ridge(inputs, labels, validation)
    return fit_mlp(
        inputs,
        labels,
        F.mse_loss,
        outputs=labels.shape[1],
        validation=validation,
        hidden=options.hidden,
        epochs=options.epochs,
        seed=seed,
    )


def _type_accuracy(pairs: Pairs, probe: Probe, validation: Tensor, options: PredictionOptions, seed: int) -> float:
    (train, test), (types, right), classes = pairs.typed, pairs.types, len(TYPES)
    if probe == "linear":
        rows = validation.to(types.device)
        return linear(
            train, types, test, right, classes=classes, validation=rows, options=LinearOptions(), seed=seed
        ).top1
    guess = fit_mlp(
        train,
        types,
        F.cross_entropy,
        outputs=classes,
        validation=validation,
        hidden=options.hidden,
        epochs=options.epochs,
        seed=seed,
    )
    return accuracy(guess(test).argmax(dim=1), right, classes=classes).top1
