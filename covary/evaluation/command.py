"""``covary evaluate``: an encoder, a set of labelled images and tasks; one result each."""

import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from covary.data import Fit, ImageStore, load, native_size, normalization
from covary.dist import choose_device
from covary.errors import InputError
from covary.evaluation.features import RGB, extract
from covary.evaluation.knn import KnnOptions
from covary.evaluation.linear import LinearOptions
from covary.evaluation.result import Result, check_writable, write
from covary.evaluation.source import resolve
from covary.evaluation.tasks import TASKS, Measurable, choose
from covary.nets.resnet import Stem
from covary.version import __version__, commit


def evaluate(
    source: str | Path | nn.Module,
    *,
    data: str,
    task: str | Sequence[str] = "all",
    out: str | Path | None = None,
    encoder: str | None = None,
    stem: Stem | None = None,
    prefix: str = "",
    ignore: Sequence[str] = (),
    image_size: int | None = None,
    mean: RGB | None = None,
    std: RGB | None = None,
    knn: KnnOptions | None = None,
    linear: LinearOptions | None = None,
    device: str = "auto",
    batch_size: int = 256,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
) -> list[Result]:
    """Measure an encoder on the labelled images of a SPEC: training images to fit or to look up, test images to score.

    Features are computed once, for all tasks: shorter side to ``image_size`` (bicubic), centre crop, normalised, no
    augmentation, encoder in evaluation mode.

    source:      see ``source.resolve``, also for ``encoder``, ``stem``, ``prefix`` and ``ignore``.
    data:        SPEC; its train and test splits are used.
    task:        ``knn``, ``linear``, several of them, or ``all``.
    out:         file for the results as JSON: an object for one task, a list for several. Where None, the results of a
                 run folder go to its ``results/TASK-DATA.json``, those of other sources into no file.
    image_size:  pixels; None takes the source's own, else the native size of the images.
    mean, std:   of the channels, for values in [0, 1]; None takes the source's own, else those of the images.
    knn, linear: options of the tasks; their defaults where None.
    device:      auto, cpu or cuda; of the encoder and of the tasks.
    batch_size:  images that the encoder sees at once.
    root, cache: where data sets and image stores lie (``data.load``).
    seed:        of untrained weights and of the validation split.

    Raises InputError before any long work: an unknown task, source, device or file that cannot be written; and for data
    without labels, with one class, or whose splits have different classes.
    """
    tasks = choose(task)
    place = choose_device(device)
    for name, number in (("batch_size", batch_size), ("image_size", 1 if image_size is None else image_size)):
        if number < 1:
            raise InputError(f"{name} is {number}; expected 1 or more.")
    if std is not None and min(std) <= 0:
        raise InputError(f"std is {std}; expected three positive numbers.")
    found = resolve(source, encoder=encoder, stem=stem, prefix=prefix, ignore=ignore, seed=seed)
    files = {name: Path(out) if out else found.run.result_file(name, data) if found.run else None for name in tasks}
    for file in files.values():
        if file is not None:
            check_writable(file)

    size = image_size or found.image_size or native_size(data)
    data_mean, data_std = normalization(data)
    mean, std = mean or found.mean or data_mean, std or found.std or data_std
    train, test = (
        load(
            data,
            split=split,
            fit=Fit.evaluate(size),
            labelled=True,
            root=None if root is None else Path(root),
            cache=None if cache is None else Path(cache),
        )
        for split in ("train", "test")
    )
    classes = _check_classes(train, test)

    begin = time.perf_counter()
    features = [
        extract(found.encoder, store, mean=mean, std=std, device=place, batch_size=batch_size).to(place)
        for store in (train, test)
    ]
    extraction = time.perf_counter() - begin
    given = Measurable(
        train_features=features[0],
        train_labels=_labels(train, place),
        test_features=features[1],
        test_labels=_labels(test, place),
        classes=classes,
        seed=seed,
        knn=knn or KnnOptions(),
        linear=linear or LinearOptions(),
    )
    images = (
        f"{features[0].shape[1]} features of images at {size} px (shorter side, bicubic; centre crop), "
        f"mean {_numbers(mean)}, std {_numbers(std)}"
    )
    results = []
    for name in tasks:
        begin = time.perf_counter()
        measured = TASKS[name](given)
        results.append(
            Result(
                task=name,
                protocol=f"{measured.protocol}; {images}",
                source=found.name,
                data=data,
                metrics=measured.metrics,
                seconds=round(extraction + time.perf_counter() - begin, 3),
                covary=__version__,
                commit=commit(),
            )
        )
        if out is None and (file := files[name]) is not None:
            write(file, results[-1:])
    if out is not None:
        write(Path(out), results)
    return results


def _check_classes(train: ImageStore, test: ImageStore) -> int:
    """Return the number of classes; InputError where the splits disagree on them or there is one."""
    names, others = train.classes or (), test.classes or ()
    if names != others:
        different = sorted(set(names) ^ set(others)) or ["their order"]
        raise InputError(
            f"The train and test splits of {train.name} have different classes "
            f"({len(names)} and {len(others)}; not in both: {', '.join(different[:5])}); give both the same classes."
        )
    if len(names) < 2:
        raise InputError(f"{train.name} has one class; an evaluation needs two or more.")
    return len(names)


def _labels(store: ImageStore, device: torch.device) -> Tensor:
    return torch.as_tensor(store.labels, device=device)


def _numbers(values: RGB) -> str:
    return "/".join(f"{value:.4g}" for value in values)
