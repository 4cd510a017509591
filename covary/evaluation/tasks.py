"""The tasks by name: each measures a subject by one protocol and says in a line what it did."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from covary.errors import InputError, did_you_mean
from covary.evaluation.detection import has_boxes
from covary.evaluation.detection.task import check_subject, measure_detection
from covary.evaluation.label_tasks import held_out, lacking, measure_few_shot, measure_knn, measure_linear
from covary.evaluation.result import Measured, Result
from covary.evaluation.subject import Subject
from covary.evaluation.transform_tasks import (
    check_equivariance,
    check_prediction,
    check_sensitivity,
    measure_equivariance,
    measure_prediction,
    measure_sensitivity,
)
from covary.evaluation.transformations import CONDITIONS


@dataclass(frozen=True, kw_only=True)
class Task:
    """A protocol.

    measure:  does it.
    needs:    what the images must have; tasks that need images alone use labels nowhere. Beyond labels: validation
              images (``transfer.hold_out``), or enough test images for an episode (``few_shot.lacking``). Those that
              need boxes read images and boxes themselves.
    ready:    raises InputError for whatever else the images or the source lack.
    headline: the metrics that encoders are compared by, and whose mean over several sets means something; an option may
              leave some of them out.
    """

    measure: Callable[[Subject], Measured]
    needs: Literal["images", "labels", "validation", "episodes", "boxes"]
    headline: tuple[str, ...]
    ready: Callable[[Subject], None] = lambda subject: None

    def check(self, subject: Subject) -> None:
        """Raise InputError, before any long work, where the images lack what is needed."""
        if self.needs == "boxes":
            check_subject(subject)
            return
        _ = subject.train, subject.test
        if self.needs != "images":
            _ = subject.classes
        if self.needs == "validation":
            held_out(subject)
        if self.needs == "episodes" and (lack := lacking(subject)):
            raise InputError(f"{subject.data}: {lack}")
        self.ready(subject)

    def suits(self, subject: Subject) -> bool:
        """Whether ``all`` includes the task for these images."""
        if self.needs == "boxes" or has_boxes(subject.data):
            return self.needs == "boxes" and has_boxes(subject.data)
        if self.needs == "images":
            return True
        return subject.labelled and not (self.needs == "episodes" and lacking(subject))


def choose(task: str | Sequence[str], subject: Subject) -> list[str]:
    """Return the names of the tasks asked for without repetition, ``all`` meaning every one that the images suit.

    Raises InputError: an unknown name, or none.
    """
    wanted = [task] if isinstance(task, str) else list(task)
    check_names(wanted)
    if "all" not in wanted:
        return list(dict.fromkeys(wanted))
    return [name for name, task in TASKS.items() if task.suits(subject)]


def check_names(wanted: Sequence[str]) -> None:
    """Raise InputError for an unknown task, or none."""
    known = [*TASKS, "all"]
    for name in wanted:
        if name not in known:
            raise InputError(f"task '{name}' is unknown; expected {', '.join(known)}.{did_you_mean(name, known)}")
    if not wanted:
        raise InputError(f"No task is named; expected {', '.join(known)}.")


def means(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return, for each task with results on several SPECs, the means of its headline metrics over them."""
    found: dict[str, dict[str, float]] = {}
    for task in dict.fromkeys(result.task for result in results):
        some = [result.metrics for result in results if result.task == task]
        if len(some) > 1:
            shared = [name for name in TASKS[task].headline if all(name in metrics for metrics in some)]
            found[task] = {name: sum(metrics[name] for metrics in some) / len(some) for name in shared}
    return found


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "knn": Task(measure=measure_knn, needs="labels", headline=("top1", "mean_per_class")),
        "linear": Task(measure=measure_linear, needs="validation", headline=("accuracy", "top1", "mean_per_class")),
        "few-shot": Task(measure=measure_few_shot, needs="episodes", headline=("1-shot.accuracy", "5-shot.accuracy")),
        "transform-prediction": Task(
            measure=measure_prediction,
            needs="images",
            headline=("mse.all", "type_accuracy"),
            ready=check_prediction,
        ),
        "equivariance": Task(
            measure=measure_equivariance,
            needs="images",
            headline=tuple(f"{name}.mrr" for name in CONDITIONS),
            ready=check_equivariance,
        ),
        "sensitivity": Task(
            measure=measure_sensitivity,
            needs="images",
            headline=tuple(f"invariance.{name}" for name in CONDITIONS),
            ready=check_sensitivity,
        ),
        "detection": Task(measure=measure_detection, needs="boxes", headline=("ap", "ap50", "ap75")),
    }
)
