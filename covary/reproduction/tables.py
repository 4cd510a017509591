"""What each table of the paper is made of: the rows it trains and the columns it measures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType
from typing import Literal

from covary.evaluation.transformations import TYPES
from covary.recipes import ABLATIONS, BASE_MODELS, NINE, TARGET_SETS
from covary.reproduction.paper import CONDITIONS, SETS

CODES = "codes"  # the task behind a figure
NOISE = "noise"  # what stands for the images where the time of a step is measured


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number of one encoder: a task of ``covary evaluate`` (or ``cost``), the SPEC of the images, a metric's name.

    chance: the metric in which the task gives what a guess reaches.
    """

    task: str
    data: str
    metric: str
    chance: str | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column: the mean of its measurements, most often of a single one.

    name:     its heading.
    paper:    the paper's column of this meaning.
    percent:  whether the measurements are fractions, shown as percent like the paper's.
    digits:   decimals of ours.
    best:     which end is.
    optional: not every machine can tell it.
    """

    name: str
    measured: tuple[Measurement, ...]
    paper: str | None
    percent: bool = False
    digits: int = 3
    best: Literal["high", "low"] = "high"
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Images:
    """The SPECs of the images that a table's columns are measured on."""

    in_domain: str
    out_domain: tuple[str, ...]
    detection: str | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the paper.

    title:   what it shows.
    setting: the paper's setting of ``covary.recipes``.
    rows:    names of ``covary.recipes.ROWS``, in the paper's order.
    columns: groups of columns, names of ``GROUPS``.
    seeds:   of the paper.
    """

    title: str
    setting: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    seeds: int = 1


TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "table1": Table(
            title="Time of a training step",
            setting="imagenet100",
            rows=("simclr", "augself", "equimod", "stl"),
            columns=("cost",),
        ),
        "table2": Table(
            title="Linear accuracy on other sets of images, in percent",
            setting="imagenet100",
            rows=tuple(NINE),
            columns=("out-domain",),
        ),
        "table3": Table(
            title="Linear accuracy on the images that were trained on, in percent",
            setting="imagenet100",
            rows=tuple(NINE),
            columns=("in-domain",),
        ),
        "table4": Table(
            title="Object detection, in percent",
            setting="imagenet100",
            rows=("simclr", "augself", "equimod", "stl", "stl+augmix"),
            columns=("detection",),
        ),
        "table5": Table(
            title="Prediction of the transformation between two images from their features",
            setting="stl10",
            rows=("simclr", "augself", "equimod", "stl"),
            columns=("prediction",),
        ),
        "table6": Table(
            title="Equivariance: the moved features retrieve the transformed image",
            setting="stl10",
            rows=("sen", "equimod", "sie", "stl-without-trans", "stl"),
            columns=("equivariance",),
        ),
        "table7": Table(
            title="STL without some of its losses",
            setting="stl10",
            rows=(*ABLATIONS, "stl"),
            columns=("in-domain", "out-domain mean", "prediction of all"),
        ),
        "table8": Table(
            title="Operations to co-vary with: linear accuracy on other sets of images, in percent",
            setting="stl10",
            rows=tuple(TARGET_SETS),
            columns=("out-domain",),
        ),
        "table9": Table(
            title="Other bases: linear accuracy on other sets of images, in percent",
            setting="stl10",
            rows=tuple(BASE_MODELS),
            columns=("out-domain",),
        ),
        "table11": Table(
            title="Linear accuracy, in percent, over several seeds",
            setting="stl10",
            rows=tuple(NINE),
            columns=("in-domain", "out-domain"),
            seeds=3,
        ),
    }
)

FIGURES: Mapping[str, Table] = MappingProxyType(
    {
        "figure1": Table(
            title="Transformation codes and the matrices made of them, by type",
            setting="stl10",
            rows=("equimod", "stl"),
            columns=("by-type",),
        ),
        "figure4": Table(
            title="Transformation codes of each type, by the quarter of its range",
            setting="stl10",
            rows=("stl",),
            columns=("by-quarter",),
        ),
    }
)


def columns_of(table: Table, images: Images) -> tuple[Column, ...]:
    """Return the columns of a table on these images."""
    return tuple(column for group in table.columns for column in GROUPS[group](images))


def set_names(specs: Sequence[str]) -> dict[str, str]:
    """Return a short name for each SPEC: the last part of a path, or the SPEC where two would share it."""
    short = {spec: PurePath(spec).name for spec in specs}
    taken = list(short.values())
    return {spec: name if taken.count(name) == 1 else spec for spec, name in short.items()}


def _accuracy(spec: str) -> Measurement:
    return Measurement(task="linear", data=spec, metric="accuracy")


def _in_domain(images: Images) -> tuple[Column, ...]:
    measured = (_accuracy(images.in_domain),)
    return (Column(name="in-domain", measured=measured, paper="in-domain", percent=True, digits=2),)


def _out_domain(images: Images) -> tuple[Column, ...]:
    each = tuple(
        Column(name=name, measured=(_accuracy(spec),), paper=spec if spec in SETS else None, percent=True, digits=2)
        for spec, name in set_names(images.out_domain).items()
    )
    return (*each, *_out_domain_mean(images))


def _out_domain_mean(images: Images) -> tuple[Column, ...]:
    measured = tuple(_accuracy(spec) for spec in images.out_domain)
    return (Column(name="mean of sets", measured=measured, paper="mean", percent=True, digits=2),)


def _prediction(images: Images) -> tuple[Column, ...]:
    return tuple(column for condition in CONDITIONS for column in _mse(images, condition)) + _type_accuracy(images)


def _prediction_of_all(images: Images) -> tuple[Column, ...]:
    return _mse(images, "all") + _type_accuracy(images)


def _mse(images: Images, condition: str) -> tuple[Column, ...]:
    metric = f"mse.{condition}"
    measured = Measurement(
        task="transform-prediction", data=images.in_domain, metric=metric, chance=f"baseline.{metric}"
    )
    return (Column(name=f"{condition} MSE", measured=(measured,), paper=metric, best="low"),)


def _type_accuracy(images: Images) -> tuple[Column, ...]:
    metric = "type_accuracy"
    measured = Measurement(
        task="transform-prediction", data=images.in_domain, metric=metric, chance=f"baseline.{metric}"
    )
    return (Column(name="type accuracy, %", measured=(measured,), paper=metric, percent=True, digits=2),)


def _equivariance(images: Images) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=f"{condition} {metric.upper()}",
            measured=(
                Measurement(
                    task="equivariance",
                    data=images.in_domain,
                    metric=f"{condition}.{metric}",
                    chance=f"{condition}.chance.{metric}",
                ),
            ),
            paper=f"{condition}.{metric}",
            best="low" if metric == "pre" else "high",
        )
        for condition in CONDITIONS
        for metric in ("mrr", "h@1", "h@5", "pre")
    )


def _detection(images: Images) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=metric.upper(),
            measured=(Measurement(task="detection", data=images.detection, metric=metric),),
            paper=metric,
            percent=True,
            digits=2,
        )
        for metric in ("ap", "ap50", "ap75")
        if images.detection is not None
    )


def _cost(images: Images) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=name,
            measured=(Measurement(task="cost", data=NOISE, metric=metric),),
            paper=metric if metric in ("seconds", "ratio") else None,
            digits=digits,
            best="low",
            optional=metric == "peak_megabytes",
        )
        for name, metric, digits in (
            ("seconds", "seconds", 4),
            ("ratio to SimCLR", "ratio", 3),
            ("weights and momentum, MB", "standing_megabytes", 0),
            ("peak of a step above them, MB", "peak_megabytes", 0),
        )
    )


def _by_type(images: Images) -> tuple[Column, ...]:
    return _scores(images, ("codes", "maps"))


def _by_quarter(images: Images) -> tuple[Column, ...]:
    return _scores(images, TYPES)


def _scores(images: Images, names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(
        Column(
            name=f"{name}, {score}",
            measured=(Measurement(task=CODES, data=images.in_domain, metric=f"{name}.{score}"),),
            paper=None,
        )
        for name in names
        for score in ("silhouette", "trustworthiness")
    )


GROUPS: Mapping[str, Callable[[Images], tuple[Column, ...]]] = MappingProxyType(
    {
        "in-domain": _in_domain,
        "out-domain": _out_domain,
        "out-domain mean": _out_domain_mean,
        "prediction": _prediction,
        "prediction of all": _prediction_of_all,
        "equivariance": _equivariance,
        "detection": _detection,
        "cost": _cost,
        "by-type": _by_type,
        "by-quarter": _by_quarter,
    }
)
