"""The tasks that learn classes from labels: kNN, linear and few-shot, each on a subject."""

from dataclasses import replace

from covary.evaluation.few_shot import few_shot
from covary.evaluation.few_shot import lacking as lacking_of
from covary.evaluation.knn import knn
from covary.evaluation.linear import linear
from covary.evaluation.result import Measured
from covary.evaluation.subject import Subject
from covary.evaluation.transfer import HeldOut, hold_out


def measure_knn(subject: Subject) -> Measured:
    """Let the nearest training images vote: ``knn.knn``."""
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
        metrics={
            "top1": result.top1,
            "mean_per_class": result.mean_per_class,
            "k": result.k,
            **_chance(subject, "top1", "mean_per_class"),
        },
        protocol=f"kNN, cosine similarity s, k = {result.k}, {votes}; {len(subject.train)} training and "
        f"{len(subject.test)} test images; {subject.says_features}",
    )


def measure_linear(subject: Subject) -> Measured:
    """Fit a logistic regression: ``linear.linear``, with the images that ``transfer.hold_out`` holds out."""
    chosen = held_out(subject)
    options = replace(subject.options.linear, metric=chosen.metric)
    result = linear(
        subject.train_features,
        subject.train_labels,
        subject.test_features,
        subject.test_labels,
        classes=subject.classes,
        validation=chosen.rows,
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
            **_chance(subject, "accuracy", "top1", "mean_per_class"),
        },
        protocol="logistic regression, sum of cross-entropies + lambda |W|^2 with the bias, L-BFGS to a relative gap "
        f"of {options.tolerance:g} in at most {options.max_steps} steps; lambda from {options.penalties} in "
        f"[{low:g}, {high:g}] by {options.metric} on {validation} of the training images "
        f"({chosen.words}), fitted on {train}, then on all "
        f"{train + validation}; {test} test images; {subject.says_features}",
    )


def _chance(subject: Subject, *names: str) -> dict[str, float]:
    """Return what a class drawn by lot scores, whatever the images: one in as many as there are."""
    return {f"chance.{name}": 1 / subject.classes for name in names}


def held_out(subject: Subject) -> HeldOut:
    """Return the validation images: ``transfer.hold_out``, also for what it raises."""
    return hold_out(
        subject.data,
        subject.train_labels.cpu(),
        subject.train.names,
        classes=subject.classes,
        tests=len(subject.test),
        options=subject.options.linear,
        seed=subject.seed,
    )


def measure_few_shot(subject: Subject) -> Measured:
    """Learn small problems out of the test images: ``few_shot.few_shot``."""
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
            for name, value in (
                ("accuracy", result.accuracy),
                ("ci95", result.ci95),
                ("chance.accuracy", 1 / options.ways),
            )
        },
        protocol=f"{options.ways}-way episodes of {options.queries} queries per class out of {len(subject.test)} test "
        f"images, {classifier} (INFERRED: STL measures none); mean of {options.episodes} episodes, "
        f"seed {subject.seed}, and half of its 95 % interval; {subject.says_features}",
    )


def lacking(subject: Subject) -> str | None:
    """Return what the test images lack for an episode, None where nothing: ``few_shot.lacking``."""
    return lacking_of(subject.test_labels, subject.options.few_shot)
