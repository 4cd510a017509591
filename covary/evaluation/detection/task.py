"""The task ``detection``: from a subject to a detector's numbers."""

from dataclasses import replace

from covary.evaluation.detection.detect import detect
from covary.evaluation.result import Measured
from covary.evaluation.subject import Subject


def measure_detection(subject: Subject) -> Measured:
    """Train a detector from the encoder and score it."""
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
