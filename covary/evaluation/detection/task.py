"""The task ``detection``: from a subject to a detector's numbers."""

from dataclasses import replace

from covary.errors import InputError
from covary.evaluation.result import Measured
from covary.evaluation.subject import Subject


def check_subject(subject: Subject) -> None:
    """Raise InputError, before any long work, for what ``measure_detection`` cannot do or would not heed."""
    from covary.evaluation.detection.detect import check  # the detector: imported where one is built

    if subject.image_size is not None:
        raise InputError(
            "detection chooses image sizes itself: --detection.sizes, --detection.test-size; leave out image_size."
        )
    check(subject.source, subject.data, options=subject.options.detection, root=subject.root)


def measure_detection(subject: Subject) -> Measured:
    """Train a detector from the encoder and score it; for what it needs see ``check_subject``."""
    from covary.evaluation.detection.detect import detect  # the detector: imported where one is built

    source = subject.source
    result = detect(
        replace(source, mean=subject.mean or source.mean, std=subject.std or source.std),
        subject.data,
        options=subject.options.detection,
        device=subject.device,
        seed=subject.seed,
        root=subject.root,
        cache=subject.cache,
    )
    return Measured(
        metrics={
            "ap": result.ap,
            "ap50": result.ap50,
            "ap75": result.ap75,
            **{f"per_class.{name}": value for name, value in result.per_class.items()},
        },
        protocol=result.protocol,
    )
