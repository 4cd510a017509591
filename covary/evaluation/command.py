"""``covary evaluate``: an encoder, sets of images and tasks; one result for each task and set."""

import time
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from covary.dist import choose_device, is_main
from covary.errors import InputError
from covary.evaluation.features import RGB
from covary.evaluation.options import Options
from covary.evaluation.result import Result, check_writable, write
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject, check_numbers
from covary.evaluation.tasks import TASKS, check_names, choose
from covary.evaluation.transfer import expand
from covary.nets.resnet import Stem
from covary.version import __version__, commit


def evaluate(
    source: str | Path | nn.Module,
    *,
    data: str | Sequence[str],
    task: str | Sequence[str] = "all",
    out: str | Path | None = None,
    encoder: str | None = None,
    stem: Stem | None = None,
    prefix: str = "",
    ignore: Sequence[str] = (),
    image_size: int | None = None,
    mean: RGB | None = None,
    std: RGB | None = None,
    options: Options = Options(),
    device: str = "auto",
    batch_size: int = 256,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    seed: int = 0,
) -> list[Result]:
    """Measure an encoder on the images of SPECs: training images to fit or to look up, test images to score.

    Images: shorter side to ``image_size`` (bicubic), centre crop, normalised; the encoder in evaluation mode. Their
    features are computed once and kept (``subject.Subject.features``).

    source:      see ``source.resolve``, also for ``encoder``, ``stem``, ``prefix`` and ``ignore``.
    data:        SPECs; of each the train and test splits are used. ``table10``: the paper's eleven out-domain sets.
    task:        names of ``tasks.TASKS``, or ``all`` for every one that the images suit.
    out:         file for the results as JSON: an object for one result, a list for several. Where None, the results of
                 a run folder go to its ``results/TASK-DATA.json``, those of other sources into no file.
    image_size:  pixels; None takes the source's own, else the native size of the images.
    mean, std:   of the channels, for values in [0, 1]; None takes the source's own, else those of the images.
    options:     of the tasks.
    device:      auto, cpu or cuda; of the encoder and of the tasks.
    batch_size:  images that the encoder sees at once.
    root, cache: where data sets, and stores of images and features lie (``data.load``).
    seed:        of untrained weights and of whatever a task draws.

    Processes that have met (``dist.processes``) train a detector together; whatever else there is each does alone, and
    the first writes the files.

    Returns the results, all tasks of the first SPEC first.
    Raises InputError before any feature is computed: an unknown task, source, device or file that cannot be written;
    for a task that needs them, images without labels, with one class, or whose splits have different classes.
    Interrupted: a signal asked for a stop while a detector was trained; the same call continues it.
    """
    specs = expand([data] if isinstance(data, str) else data)
    if not specs:
        raise InputError("data is empty; name one or more sets of images.")
    check_names([task] if isinstance(task, str) else task)
    place = choose_device(device)
    check_numbers(batch_size=batch_size, image_size=image_size, std=std, seed=seed)
    if out is not None:
        check_writable(Path(out))
    found = resolve(source, encoder=encoder, stem=stem, prefix=prefix, ignore=ignore, seed=seed)
    work: list[tuple[Subject, str]] = []
    for spec in specs:
        subject = Subject(
            source=found,
            data=spec,
            device=place,
            batch_size=batch_size,
            seed=seed,
            options=options,
            image_size=image_size,
            mean=mean,
            std=std,
            root=None if root is None else Path(root),
            cache=None if cache is None else Path(cache),
        )
        work += [(subject, name) for name in choose(task, subject)]
    for subject, name in work:
        if out is None and found.run is not None:
            check_writable(found.run.result_file(name, subject.data))
        TASKS[name].check(subject)

    results = []
    for subject, name in work:
        results.append(_measure(subject, name))
        if out is not None and is_main():
            write(Path(out), results)
        if out is None and found.run is not None and is_main():
            write(found.run.result_file(name, subject.data), results[-1:])
    return results


def _measure(subject: Subject, task: str) -> Result:
    begin = time.perf_counter()
    measured = TASKS[task].measure(subject)
    return Result(
        task=task,
        protocol=measured.protocol,
        source=subject.source.name,
        data=subject.data,
        metrics=measured.metrics,
        seconds=round(time.perf_counter() - begin, 3),
        covary=__version__,
        commit=commit(),
    )
