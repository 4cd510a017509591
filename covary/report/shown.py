"""Trained encoders and the images that they are shown with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from covary.dist import choose_device
from covary.evaluation.options import Options
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject, some_rows
from covary.evaluation.transform_tasks import check_sensitivity
from covary.report.read import RunFiles

SEED = 0  # of which images are shown
SIDE = 64  # pixels that a tile is shrunk to


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A run with a trained encoder, on images.

    run: its number on the page. name: on the page.
    """

    run: int
    name: str
    subject: Subject


def shown_runs(
    paths: Sequence[Path],
    runs: Sequence[RunFiles],
    data: str,
    *,
    device: str,
    root: Path | None,
    cache: Path | None,
) -> tuple[Shown, ...]:
    """Return the runs that are done, their encoders read and the images loaded.

    Raises InputError: the images are not there or too few, weights are damaged, or there is no such device.
    """
    place, found = choose_device(device), []
    for number, (path, run) in enumerate(zip(paths, runs, strict=True)):
        if run.done:
            subject = Subject(
                source=replace(resolve(path), name=run.name),
                data=data,
                device=place,
                batch_size=256,
                seed=SEED,
                options=Options(),
                root=root,
                cache=cache,
            )
            _ = subject.train
            check_sensitivity(subject)
            found.append(Shown(run=number, name=run.name, subject=subject))
    return tuple(found)


def sharpest(shown: Sequence[Shown]) -> Shown:
    """Return the run that sees images at the largest size; all see the same images, in one order."""
    return max(shown, key=lambda each: each.subject.extractor.size)


def chosen(subject: Subject, count: int) -> Tensor:
    """Return rows of test images in random order, int64 (n,), one of each class before a second of any."""
    rows = some_rows(subject.test, 0, SEED, "shown")
    if subject.test.labels is None:
        return rows[:count]
    _, first = np.unique(subject.test.labels[rows], return_index=True)
    others = np.setdiff1d(np.arange(len(rows)), first)
    return rows[torch.from_numpy(np.concatenate([np.sort(first), others])[:count])]


def class_name(subject: Subject, label: int | None) -> str:
    """Return the words for a label; none where there is no label."""
    names = subject.test.classes
    return "" if label is None or label < 0 or names is None else names[label]


def pixels(image: Tensor) -> NDArray[np.uint8]:
    """Return an image uint8 (3, h, w) as a tile holds it, at most ``SIDE`` pixels wide and high."""
    picture = Image.fromarray(np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture)
