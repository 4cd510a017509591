"""What is trained and what is measured in each study."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from covary.errors import InputError, did_you_mean
from covary.recipes import ABLATIONS, BASE_MODELS, NINE, start_run
from covary.run import Run

TOGETHER = "tiny_imagenet100+imagenette96"
"""Two sets as one, to train on without labels (``study.sets``)."""

FEATURES = ("transform-prediction", "equivariance")
"""Tasks that need no labels."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a study's tables.

    recipe:  row of ``covary.recipes.ROWS``.
    seeds:   how many runs.
    method:  options of the method that differ from the recipe's.
    run:     options of the run that differ.
    """

    recipe: str
    seeds: int = 3
    method: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Study:
    """Methods on one set of images, and what they are measured on.

    data:       images to train on, labels unused.
    image_size: pixels.
    epochs:     passes over the images.
    rows:       by name.
    in_domain:  sets measured by kNN and linear evaluation, and the first of them by the tasks without labels.
    out_domain: sets measured by linear evaluation.
    detection:  sets with boxes.
    """

    title: str
    data: str
    image_size: int
    epochs: int
    rows: Mapping[str, Row]
    in_domain: tuple[str, ...]
    out_domain: tuple[str, ...]
    detection: tuple[str, ...] = ()


def _rows(names: Mapping[str, object], *, seeds: int) -> dict[str, Row]:
    return {name: Row(recipe=name, seeds=seeds) for name in names}


SMALL_SETS = (
    *("cifar100", "gtsrb", "fashion_mnist", "flowers5", "clothing10"),
    *("intel_scenes6", "sign_digits10", "blood_cells4", "caltech101"),
)
LARGER_SETS = ("caltech101", "flowers5", "clothing10", "intel_scenes6", "sign_digits10", "blood_cells4")

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        "S1": Study(
            title="Natural objects at 32 pixels",
            data="cifar10",
            image_size=32,
            epochs=10,
            rows=_rows(NINE, seeds=3),
            in_domain=("cifar10",),
            out_domain=SMALL_SETS,
        ),
        "S2": Study(
            title="Natural objects at 64 pixels",
            data=TOGETHER,
            image_size=64,
            epochs=10,
            rows=_rows(dict.fromkeys(("simclr", "equimod", "stl")), seeds=1),
            in_domain=("tiny_imagenet100", "imagenette96"),
            out_domain=LARGER_SETS,
            detection=("det_bccd",),
        ),
        "S3": Study(
            title="Losses and bases",
            data="cifar10",
            image_size=32,
            epochs=10,
            rows=_rows(ABLATIONS, seeds=1) | _rows(BASE_MODELS, seeds=1),
            in_domain=("cifar10",),
            out_domain=SMALL_SETS,
        ),
        "S4": Study(
            title="What matters in STL",
            data="cifar10",
            image_size=32,
            epochs=10,
            rows={
                **{
                    f"weight of trans {weight:g}": Row(recipe="stl", seeds=1, method={"weight_trans": weight})
                    for weight in (0.05, 0.5, 1.0)
                },
                **{f"rank {rank}": Row(recipe="stl", seeds=1, method={"rank": rank}) for rank in (32, 128)},
                "aligned: crop": Row(recipe="stl-crop", seeds=1),
                "aligned: color": Row(recipe="stl-color", seeds=1),
                "aligned: all": Row(recipe="stl-all", seeds=1),
                "5 epochs": Row(recipe="stl", seeds=1, run={"epochs": 5}),
                "20 epochs": Row(recipe="stl", seeds=1, run={"epochs": 20}),
            },
            in_domain=("cifar10",),
            out_domain=SMALL_SETS,
        ),
    }
)


def choose_study(name: str) -> Study:
    """Return a study by name; raise ``InputError`` for an unknown one."""
    if name not in STUDIES:
        raise InputError(f"study '{name}' is unknown; expected one of {', '.join(STUDIES)}.")
    return STUDIES[name]


def choose_row(study: str, name: str) -> Row:
    """Return a row of a study by name; raise ``InputError`` for an unknown one."""
    rows = choose_study(study).rows
    if name not in rows:
        raise InputError(f"{study} has no row '{name}'; expected {', '.join(rows)}.{did_you_mean(name, rows)}")
    return rows[name]


def run_of(study: str, name: str, *, seed: int, data: str) -> Run:
    """Return the run of a row and a seed on images that lie at a SPEC."""
    chosen, row = choose_study(study), choose_row(study, name)
    run = start_run(recipe=f"small/{row.recipe}", data=data, image_size=chosen.image_size)
    changes = {"epochs": chosen.epochs, **row.run, "method": replace(run.method, **row.method)}
    return replace(run, seed=seed, **changes)


def work_of(study: str) -> list[tuple[str, str]]:
    """Return every task and set of a study."""
    chosen = choose_study(study)
    return [
        *((task, data) for data in chosen.in_domain for task in ("knn", "linear")),
        *((task, chosen.in_domain[0]) for task in FEATURES),
        *(("linear", data) for data in chosen.out_domain),
        *(("detection", data) for data in chosen.detection),
    ]
