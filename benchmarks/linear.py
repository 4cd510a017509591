"""Time of the linear and kNN evaluations, and of the same fits by torch.optim.LBFGS.

    python benchmarks/linear.py [--images 50000] [--tests 10000] [--features 128] [--classes 10] [--out FILE]

Features are drawn: class centres and noise, whose j-th direction has standard deviation 1 / j, through a random layer
and a ReLU; the spectrum of their covariance is near that of a random network's features of CIFAR-10. The rival runs on
the subset with the settings of AugSelf's published evaluation: from the smallest penalty up, each fit from the last
one's weights, strong Wolfe line search, in float64, at most 5000 iterations. It is helped: each of its fits stops as
soon as it is within 1e-5 of our objective, relatively; the excess is how far it stayed above at worst. CPU seconds hold
on a machine that others use, too.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from covary.evaluation.knn import knn
from covary.evaluation.linear import LinearOptions, linear
from covary.evaluation.logistic import Solution, minimise, with_constant
from covary.version import commit

T = TypeVar("T")

CLOSE = 1e-5  # relative distance from our objective at which a fit of the rival may stop
LOOK = 20  # iterations of the rival between looks at its objective


def draw(images: int, *, features: int, classes: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return features (n, D) and labels (n,)."""
    generator = torch.Generator().manual_seed(0)
    spread = 1 / torch.arange(1, 513)
    centres = torch.randn(classes, 512, generator=generator)
    layer = torch.randn(512, features, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    hidden = (0.5 * centres[labels] + torch.randn(images, 512, generator=generator)) * spread
    return (hidden @ layer).relu().to(device), labels.to(device)


def rival(x: Tensor, labels: Tensor, *, penalties: list[float], goals: Tensor, steps: int) -> Tensor:
    """Return the objective that each fit ends at, float64 (P,)."""
    x = with_constant(x)
    weight = x.new_zeros(int(labels.max()) + 1, x.shape[1]).requires_grad_()
    return torch.stack(
        [
            fit(weight, x, labels, penalty=penalty, goal=goal, steps=steps)
            for penalty, goal in zip(penalties, goals.tolist(), strict=True)
        ]
    )


def fit(weight: Tensor, x: Tensor, labels: Tensor, *, penalty: float, goal: float, steps: int) -> Tensor:
    """Move the weight towards the minimum for a penalty until the objective reaches a goal; return the objective."""
    optimiser = torch.optim.LBFGS(
        [weight], max_iter=LOOK, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimiser.zero_grad()
        value = cross_entropy(x @ weight.mT, labels, reduction="sum") + penalty * weight.square().sum()
        value.backward()
        return value

    for _ in range(0, steps, LOOK):
        if optimiser.step(objective) <= goal:
            break
    return objective().detach()


def timed(job: Callable[[], T], device: torch.device) -> tuple[float, float, T]:
    """Return the seconds of a job on the clock and on the processors, and what it returned."""
    begin, processors = time.perf_counter(), time.process_time()
    result = job()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin, time.process_time() - processors, result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (
        ("images", 50_000),
        ("tests", 10_000),
        ("features", 128),
        ("classes", 10),
        ("subset", 5_000),
        ("repeats", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device, classes = torch.device(arguments.device), arguments.classes
    x, labels = draw(arguments.images + arguments.tests, features=arguments.features, classes=classes, device=device)
    sets = (x[arguments.tests :], labels[arguments.tests :], x[: arguments.tests], labels[: arguments.tests])
    few, few_labels = sets[0][: arguments.subset], sets[1][: arguments.subset]
    options = LinearOptions()
    penalties = options.lambdas()

    def path() -> Solution:
        return minimise(
            few,
            few_labels,
            classes=classes,
            penalties=penalties,
            tolerance=options.tolerance,
            max_steps=options.max_steps,
        )

    reached = path().objective
    jobs = {
        "linear": lambda: linear(*sets, classes=classes),
        "knn": lambda: knn(*sets, classes=classes),
        "path": path,
        "rival": lambda: rival(
            few, few_labels, penalties=penalties, goals=(1 + CLOSE) * reached, steps=options.max_steps
        ),
    }
    rounds = [{name: timed(job, device) for name, job in jobs.items()} for _ in range(arguments.repeats)]
    results = {name: result for name, (_, _, result) in rounds[0].items()}
    report = {
        "commit": commit(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        **vars(arguments),
        **{f"{name}_seconds": statistics.median(r[name][0] for r in rounds) for name in jobs},
        **{f"{name}_cpu_seconds": statistics.median(r[name][1] for r in rounds) for name in jobs},
        "linear_steps": sum(results["linear"].steps),
        "linear_not_converged": results["linear"].not_converged,
        "ratio": statistics.median(r["rival"][0] / r["path"][0] for r in rounds),
        "ratio_cpu": statistics.median(r["rival"][1] / r["path"][1] for r in rounds),
        "excess_of_rival": (results["rival"] / reached - 1).max().item(),
    }
    for name, value in report.items():
        print(f"{name:32}{value}")
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
