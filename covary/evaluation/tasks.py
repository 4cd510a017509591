"""The tasks by name: each measures one set of features by one protocol and says in a line what it did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from covary.errors import InputError, did_you_mean
from covary.evaluation.knn import KnnOptions, knn
from covary.evaluation.linear import LinearOptions, linear


@dataclass(frozen=True, kw_only=True)
class Measurable:
    """Features and labels of training and test images, and the options of every task."""

    train_features: Tensor
    train_labels: Tensor
    test_features: Tensor
    test_labels: Tensor
    classes: int
    seed: int
    knn: KnnOptions
    linear: LinearOptions


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Numbers by name, and one line on how they came about."""

    metrics: dict[str, float]
    protocol: str


def choose(task: str | Sequence[str]) -> list[str]:
    """Return the names of the tasks asked for, ``all`` meaning every one, without repetition.

    Raises InputError: an unknown name, or none.
    """
    wanted = [task] if isinstance(task, str) else list(task)
    known = [*TASKS, "all"]
    for name in wanted:
        if name not in known:
            raise InputError(f"task '{name}' is unknown; expected {', '.join(known)}.{did_you_mean(name, known)}")
    if not wanted:
        raise InputError(f"No task is named; expected {', '.join(known)}.")
    return list(TASKS) if "all" in wanted else list(dict.fromkeys(wanted))


def _knn(given: Measurable) -> Measured:
    options = given.knn
    result = knn(
        given.train_features,
        given.train_labels,
        given.test_features,
        given.test_labels,
        k=options.k,
        temperature=options.temperature,
        classes=given.classes,
    )
    votes = "equal votes" if options.temperature is None else f"votes exp(s / {options.temperature:g})"
    return Measured(
        metrics={"top1": result.top1, "mean_per_class": result.mean_per_class, "k": result.k},
        protocol=f"kNN, cosine similarity s, k = {result.k}, {votes}; "
        f"{len(given.train_labels)} training and {len(given.test_labels)} test images",
    )


def _linear(given: Measurable) -> Measured:
    options = given.linear
    result = linear(
        given.train_features,
        given.train_labels,
        given.test_features,
        given.test_labels,
        classes=given.classes,
        options=options,
        seed=given.seed,
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
        f"({options.validation:g} of each class, seed {given.seed}), fitted on {train}, then on all "
        f"{train + validation}; {test} test images",
    )


TASKS: dict[str, Callable[[Measurable], Measured]] = {"knn": _knn, "linear": _linear}
