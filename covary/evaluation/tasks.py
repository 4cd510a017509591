"""The tasks by name: each measures a subject by one protocol and says in a line what it did."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from covary.errors import InputError, did_you_mean
from covary.evaluation.few_shot import few_shot, lacking
from covary.evaluation.knn import knn
from covary.evaluation.linear import linear
from covary.evaluation.result import Result
from covary.evaluation.subject import Subject
from covary.evaluation.transfer import HeldOut, hold_out


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Numbers by name, groups with dots between, and one line on how they came about."""

    metrics: dict[str, float]
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """A protocol.

    measure:  does it.
    needs:    what the images must have; tasks that need images alone use labels nowhere. Beyond labels: validation
              images (``transfer.hold_out``), or enough test images for an episode (``few_shot.lacking``).
    headline: the metrics that encoders are compared by, and whose mean over several sets means something; an option may
              leave some of them out.
    """

    measure: Callable[[Subject], Measured]
    needs: Literal["images", "labels", "validation", "episodes"]
    headline: tuple[str, ...]

    def check(self, subject: Subject) -> None:
        """Raise InputError, before any long work, where the images lack what is needed."""
        _ = subject.train, subject.test
        if self.needs != "images":
            _ = subject.classes
        if self.needs == "validation":
            _held_out(subject)
        if self.needs == "episodes" and (lack := _lacking(subject)):
            raise InputError(f"{subject.data}: {lack}")

    def suits(self, subject: Subject) -> bool:
        """Whether ``all`` includes the task for these images."""
        if self.needs == "images":
            return True
        return subject.labelled and not (self.needs == "episodes" and _lacking(subject))


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
    held_out = _held_out(subject)
    options = replace(subject.options.linear, metric=held_out.metric)
    result = linear(
        subject.train_features,
        subject.train_labels,
        subject.test_features,
        subject.test_labels,
        classes=subject.classes,
        validation=held_out.rows,
        options=options,
    )
    train, validation, test = result.images
    low, high = options.penalty_range
    return Measured(
        metrics={
            "accuracy": result.accuracy,
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
        f"({held_out.words}), fitted on {train}, then on all "
        f"{train + validation}; {test} test images; {subject.says_features}",
    )


def _held_out(subject: Subject) -> HeldOut:
    return hold_out(
        subject.data,
        subject.train_labels.cpu(),
        subject.train.names,
        classes=subject.classes,
        tests=len(subject.test),
        options=subject.options.linear,
        seed=subject.seed,
    )


def _few_shot(subject: Subject) -> Measured:
    options = subject.options.few_shot
    results = few_shot(subject.test_features, subject.test_labels, options=options, seed=subject.seed)
    classifier = {
        "logistic": "logistic regression, one class against the rest, C = 1, on features as they are, as AugSelf",
        "centroid": "nearest class mean of normalised features by cosine similarity",
    }[options.classifier]
    return Measured(
        metrics={
            f"{shots}-shot.{name}": value
            for shots, result in results.items()
            for name, value in (("accuracy", result.accuracy), ("ci95", result.ci95))
        },
        protocol=f"{options.ways}-way episodes of {options.queries} queries per class out of {len(subject.test)} test "
        f"images, {classifier} (INFERRED: STL measures none); mean of {options.episodes} episodes, "
        f"seed {subject.seed}, and half of its 95 % interval; {subject.says_features}",
    )


def _lacking(subject: Subject) -> str | None:
    return lacking(subject.test_labels, subject.options.few_shot)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "knn": Task(measure=_knn, needs="labels", headline=("top1", "mean_per_class")),
        "linear": Task(measure=_linear, needs="validation", headline=("accuracy", "top1", "mean_per_class")),
        "few-shot": Task(measure=_few_shot, needs="episodes", headline=("1-shot.accuracy", "5-shot.accuracy")),
    }
)
