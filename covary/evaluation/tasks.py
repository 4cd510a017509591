"""The tasks by name: each measures a subject by one protocol and says in a line what it did."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from covary.errors import InputError, did_you_mean
from covary.evaluation.knn import knn
from covary.evaluation.linear import linear
from covary.evaluation.result import Measured, Result
from covary.evaluation.subject import Subject
from covary.evaluation.transform_tasks import measure_equivariance, measure_prediction, measure_sensitivity
from covary.evaluation.transformations import CONDITIONS


@dataclass(frozen=True, kw_only=True)
class Task:
    """A protocol.

    measure:  does it.
    needs:    what the images must have; tasks that need images alone use labels nowhere.
    headline: the metrics that encoders are compared by, and whose mean over several sets means something.
    """

    measure: Callable[[Subject], Measured]
    needs: Literal["images", "labels"]
    headline: tuple[str, ...]

    def check(self, subject: Subject) -> None:
        """Raise InputError, before any long work, where the images lack what is needed."""
        _ = subject.train, subject.test
        if self.needs == "labels":
            _ = subject.classes


def choose(task: str | Sequence[str], subject: Subject) -> list[str]:
    """Return the names of the tasks asked for without repetition, ``all`` meaning every one that the images suit.

    Raises InputError: an unknown name, or none.
    """
    wanted = [task] if isinstance(task, str) else list(task)
    check_names(wanted)
    if "all" not in wanted:
        return list(dict.fromkeys(wanted))
    return [name for name, task in TASKS.items() if task.needs == "images" or subject.labelled]


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
            found[task] = {name: sum(metrics[name] for metrics in some) / len(some) for name in TASKS[task].headline}
    return found


def _knn(subject: Subject) -> Measured:
    options = subject.options.knn
    result = knn(
        subject.train_features,
        subject.train_labels,
        subject.test_features,
        subject.test_labels,
        k=options.k,
        temperature=options.temperature,
        classes=subject.classes,
    )
    votes = "equal votes" if options.temperature is None else f"votes exp(s / {options.temperature:g})"
    return Measured(
        metrics={"top1": result.top1, "mean_per_class": result.mean_per_class, "k": result.k},
        protocol=f"kNN, cosine similarity s, k = {result.k}, {votes}; {len(subject.train)} training and "
        f"{len(subject.test)} test images; {subject.says_features}",
    )


def _linear(subject: Subject) -> Measured:
    options = subject.options.linear
    result = linear(
        subject.train_features,
        subject.train_labels,
        subject.test_features,
        subject.test_labels,
        classes=subject.classes,
        options=options,
        seed=subject.seed,
    )
    train, validation, test = result.images
    low, high = options.penalty_range
    return Measured(
        metrics={
            "top1": result.top1,
            "mean_per_class": result.mean_per_class,
            "lambda": result.penalty,
            "validation": max(result.scores),
            "steps": sum(result.steps),
            "not_converged": result.not_converged,
        },
        protocol="logistic regression, sum of cross-entropies + lambda |W|^2 with the bias, L-BFGS to a relative gap "
        f"of {options.tolerance:g} in at most {options.max_steps} steps; lambda from {options.penalties} in "
        f"[{low:g}, {high:g}] by {options.metric} on {validation} of the training images "
        f"({options.validation:g} of each class, seed {subject.seed}), fitted on {train}, then on all "
        f"{train + validation}; {test} test images; {subject.says_features}",
    )


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "knn": Task(measure=_knn, needs="labels", headline=("top1", "mean_per_class")),
        "linear": Task(measure=_linear, needs="labels", headline=("top1", "mean_per_class")),
        "transform-prediction": Task(measure=measure_prediction, needs="images", headline=("mse.all", "type_accuracy")),
        "equivariance": Task(
            measure=measure_equivariance, needs="images", headline=tuple(f"{name}.mrr" for name in CONDITIONS)
        ),
        "sensitivity": Task(
            measure=measure_sensitivity, needs="images", headline=tuple(f"invariance.{name}" for name in CONDITIONS)
        ),
    }
)
