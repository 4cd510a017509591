"""What comes before the numbers of a table: its images are checked, and the runs that are missing are trained."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from covary import config
from covary.data import data_root
from covary.errors import MissingData
from covary.evaluation import Options
from covary.evaluation.detection import voc
from covary.evaluation.source import Source
from covary.evaluation.subject import Subject
from covary.evaluation.tasks import TASKS, Task
from covary.reproduction.plan import Planned
from covary.reproduction.tables import Column
from covary.resuming import check_same_run
from covary.run import Run
from covary.rundir import RunDir
from covary.tracking import TrackingConfig
from covary.training import Session, train

Say = Callable[[str], object]
Work = tuple[str, str]  # a task and the SPEC of the images

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "knn": "knn",
        "linear": "linear",
        "few-shot": "few_shot",
        "transform-prediction": "prediction",
        "equivariance": "equivariance",
        "sensitivity": "sensitivity",
        "detection": "detection",
    }
)
"""The field of ``Options`` that each task of ``covary evaluate`` reads; what else is behind columns reads none."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and with what a table is made: the device, the folders of sets and stores, the options of the tasks."""

    device: torch.device
    root: Path | None
    cache: Path | None
    options: Options
    say: Say


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The images that measurements need: the content of those at hand, and why others are not."""

    fingerprints: Mapping[Work, str]
    missing: Mapping[Work, str]


def work_of(columns: Iterable[Column]) -> list[Work]:
    """Return the tasks and SPECs behind columns, without repetition."""
    return list(dict.fromkeys((each.task, each.data) for column in columns for each in column.measured))


def options_of(tasks: Iterable[str], options: Options) -> dict[str, Any]:
    """Return as JSON, by field, those options that these tasks read."""
    fields = dict.fromkeys(OPTIONS[task] for task in tasks if task in OPTIONS)
    return {field: config.to_json(getattr(options, field)) for field in fields}


def check_images(work: Sequence[Work], *, run: Run, place: Place) -> Checked:
    """Load the images of every measurement, downloading and decoding what is not at hand.

    Images of a known set that is nowhere to be had are missing, all other faults are the user's.
    Raises InputError: images that a task cannot be done with, or the training images are missing.
    """
    fingerprints, missing = {}, {}
    blind = blind_source(run, place=place)
    for task, data in work:
        subject = subject_of(blind, data, place=place)
        try:
            TASKS[task].check(subject)
        except MissingData as error:
            if data == run.data:
                raise
            missing[task, data] = str(error)
            place.say(f"images  {data} is left out: {error}")
        else:
            fingerprints[task, data] = _content(TASKS[task], subject)
    return Checked(fingerprints=fingerprints, missing=missing)


def blind_source(run: Run, *, place: Place) -> Source:
    """Return the encoder of a run without weights, to ask for images with before there are any: it encodes nothing."""
    with torch.device("meta"):
        encoder = run.resolved(place.device).build_method().encoder
    return Source(
        name="untrained", encoder=encoder, image_size=run.augment.size, mean=run.augment.mean, std=run.augment.std
    )


def subject_of(source: Source, data: str, *, place: Place) -> Subject:
    """Return an encoder on the images of a SPEC."""
    return Subject(
        source=source,
        data=data,
        device=place.device,
        batch_size=256,
        seed=0,
        options=place.options,
        root=place.root,
        cache=place.cache,
    )


def _content(task: Task, subject: Subject) -> str:
    """Return what tells images, and boxes where the task needs them, from others of the same SPEC."""
    if task.needs == "boxes":
        return voc.load(subject.data, root=data_root(subject.root)).identity
    return f"{subject.train.fingerprint} {subject.test.fingerprint}"


def unfinished(planned: Sequence[Planned], *, place: Place) -> list[Planned]:
    """Return the runs that are still to be trained or continued.

    Raises InputError: a folder holds another run.
    """
    left = []
    for each in planned:
        folder = RunDir(each.folder)
        saved = check_same_run(each.run.resolved(place.device), folder)
        if saved is None or not (folder.encoder_file.is_file() and folder.method_file.is_file()):
            left.append(each)
    return left


def train_all(planned: Sequence[Planned], *, place: Place) -> None:
    """Train runs one after the other, each to its end.

    Raises InputError, TrainingError, Interrupted: see ``training.train``.
    """
    session = Session(
        device="cuda" if place.device.type == "cuda" else "cpu",
        root=place.root,
        cache=place.cache,
        knn_epochs=-1,
        tracking=TrackingConfig(progress=sys.stderr.isatty()),
    )
    for number, each in enumerate(planned, start=1):
        place.say(f"train  {number}/{len(planned)}  {each.row}, seed {each.seed}, into {each.folder}")
        train(each.run, each.folder, session)
