"""Time and agreement of the path of penalties with as many fits of scikit-learn's LogisticRegression.

    python benchmarks/scikit_learn.py [--images 10000] [--features 512] [--classes 100] [--repeats 3] [--out FILE]
    python benchmarks/scikit_learn.py --source SOURCE --data SPEC [--penalties 12] [--solver newton-cg --tolerance 1e-6]

The first form draws features as ``benchmarks/linear.py`` does, the second takes those of an encoder. Both solvers
minimise one objective, with the constant as a feature that is penalised like the others. scikit-learn's fits are timed
*cold*, each from zeros, and *warm*, from the largest penalty down and each from the last one's weights. The jobs of a
repeat follow one another; seconds and ratios are medians over the repeats. ``excess`` is how far scikit-learn's
objective stays above ours, relatively: where it is large, scikit-learn stopped early, a ratio flatters it, and
accuracies need not agree; lower ``--tolerance`` (its own, 1e-4 by default), or raise ``--ours``. Half of the test
images choose a penalty, the others score the choice.
"""

import argparse
import json
import platform
import statistics
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from linear import draw, timed
from sklearn import __version__ as sklearn_version
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from covary.evaluation import Options
from covary.evaluation.linear import LinearOptions
from covary.evaluation.logistic import minimise, predict, with_constant
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject
from covary.version import commit


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Features and labels to fit, and to score on."""

    x: Tensor
    labels: Tensor
    test_x: Tensor
    test_labels: Tensor

    def objective(self, weight: Tensor, penalty: float) -> float:
        """Return F of a weight (C, D + 1)."""
        logits = with_constant(self.x) @ weight.mT
        return (cross_entropy(logits, self.labels, reduction="sum") + penalty * weight.square().sum()).item()


def of_encoder(source: str, data: str, *, images: int, tests: int) -> Sets:
    """Return the features of the first images of a SPEC."""
    subject = Subject(
        source=resolve(source), data=data, device=torch.device("cpu"), batch_size=256, seed=0, options=Options()
    )
    train, test = subject.train.select(range(images)), subject.test.select(range(tests))
    return Sets(
        x=subject.extractor.features(train),
        labels=torch.as_tensor(train.labels),
        test_x=subject.extractor.features(test),
        test_labels=torch.as_tensor(test.labels),
    )


def of_nobody(*, images: int, tests: int, features: int, classes: int) -> Sets:
    """Return drawn features."""
    x, labels = draw(images + tests, features=features, classes=classes, device=torch.device("cpu"))
    return Sets(x=x[tests:], labels=labels[tests:], test_x=x[:tests], test_labels=labels[:tests])


def fits(sets: Sets, penalties: list[float], *, solver: str, tolerance: float, warm: bool) -> Tensor:
    """Return scikit-learn's weights, float64 (P, C, D + 1)."""
    x, labels = with_constant(sets.x).numpy(), sets.labels.numpy()
    model = LogisticRegression(fit_intercept=False, solver=solver, tol=tolerance, max_iter=5000, warm_start=warm)
    weights = [model.set_params(C=1 / (2 * penalty)).fit(x, labels).coef_.copy() for penalty in reversed(penalties)]
    return torch.from_numpy(np.stack(weights[::-1]))


def agreement(sets: Sets, penalties: list[float], weights: dict[str, Tensor]) -> dict[str, object]:
    """Return how near each of the weights is to ours, called ``path``: objectives, accuracies and choices."""
    half = len(sets.test_labels) // 2
    hits = {name: (predict(sets.test_x, w) == sets.test_labels).double() for name, w in weights.items()}
    accuracies = {name: h.mean(1) for name, h in hits.items()}
    chosen = {name: int(h[:, :half].mean(1).argmax()) for name, h in hits.items()}
    found: dict[str, object] = {}
    for name, w in weights.items():
        best = chosen[name]
        found[f"{name}_lambda"] = penalties[best]
        found[f"{name}_accuracy"] = hits[name][best, half:].mean().item()
        if name != "path":
            excess = [
                sets.objective(theirs, penalty) / sets.objective(ours, penalty) - 1
                for theirs, ours, penalty in zip(w, weights["path"], penalties, strict=True)
            ]
            apart = (accuracies[name] - accuracies["path"]).abs()
            close = [row for row, value in enumerate(excess) if abs(value) < 1e-3]
            found[f"{name}_excess"] = [float(f"{value:.1e}") for value in excess]
            found[f"{name}_largest_excess"] = max(map(abs, excess))
            found[f"{name}_accuracy_apart"] = [round(value, 5) for value in apart.tolist()]
            found[f"{name}_accuracy_apart_where_excess_below_1e-3"] = apart[close].max().item()
            found[f"{name}_accuracy_apart_at_our_choice"] = apart[chosen["path"]].item()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (
        ("images", 10_000),
        ("tests", 2_000),
        ("features", 512),
        ("classes", 100),
        ("penalties", 45),
        ("repeats", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--source", help="an encoder; its features in place of drawn ones")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--solver", default="lbfgs")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="scikit-learn's")
    parser.add_argument("--ours", type=float, default=LinearOptions().tolerance, help="tolerance of the path")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    size = {"images": given.images, "tests": given.tests}
    if given.source:
        sets = of_encoder(given.source, given.data, **size)
    else:
        sets = of_nobody(**size, features=given.features, classes=given.classes)
    classes = int(sets.labels.max()) + 1
    options = LinearOptions(penalties=given.penalties, tolerance=given.ours)
    penalties, device = options.lambdas(), torch.device("cpu")
    jobs = {
        "path": lambda: (
            minimise(
                sets.x,
                sets.labels,
                classes=classes,
                penalties=penalties,
                tolerance=options.tolerance,
                max_steps=options.max_steps,
            ).weight
        ),
        "cold": lambda: fits(sets, penalties, solver=given.solver, tolerance=given.tolerance, warm=False),
        "warm": lambda: fits(sets, penalties, solver=given.solver, tolerance=given.tolerance, warm=True),
    }
    rounds = [{name: timed(job, device) for name, job in jobs.items()} for _ in range(given.repeats)]
    report = {
        "commit": commit(),
        "processor": platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "scikit-learn": sklearn_version,
        **vars(given),
        "shape": tuple(sets.x.shape),
        "classes": classes,
        **{f"{name}_seconds": statistics.median(r[name][0] for r in rounds) for name in jobs},
        **{f"{name}_cpu_seconds": statistics.median(r[name][1] for r in rounds) for name in jobs},
        **{f"ratio_{name}": statistics.median(r[name][0] / r["path"][0] for r in rounds) for name in ("cold", "warm")},
        **agreement(sets, penalties, {name: result for name, (_, _, result) in rounds[0].items()}),
    }
    for name, value in report.items():
        print(f"{name:48}{value}")
    if given.out:
        given.out.write_text(json.dumps(report, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
