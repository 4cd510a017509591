"""Time and memory of the hypernetwork, contracted and in the form that builds one matrix per row.

``python benchmarks/hypernetwork.py [--features 512] [--batch 256] [--device cuda] [--out FILE]``: one forward and
backward of each form in turn, medians. Extra memory is the peak above what stood before forward, gradients included: of
the process on a CPU (Linux only: VmHWM), of torch's allocator on a GPU.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from covary.meter import extra_bytes, passport, seconds
from covary.nets import LinearHypernetwork

Form = Callable[[LinearHypernetwork, Tensor, Tensor], Tensor]


def contracted(network: LinearHypernetwork, code: Tensor, features: Tensor) -> Tensor:
    return network(code, features)


def with_matrices(network: LinearHypernetwork, code: Tensor, features: Tensor) -> Tensor:
    """The form of STL's published code: generate W(t) for every row, then multiply."""
    b, d = features.shape
    return torch.bmm((code @ network.weight.T).view(b, d, d), features.unsqueeze(2)).squeeze(2)


FORMS: dict[str, Form] = {"contracted": contracted, "matrices": with_matrices}


def run(form: Form, network: LinearHypernetwork, inputs: tuple[Tensor, Tensor], direction: Tensor) -> list[Tensor]:
    """Return the moved features and the three gradients."""
    leaves = (*inputs, network.weight)
    moved = form(network, *inputs)
    return [moved.detach(), *torch.autograd.grad(moved, leaves, direction)]


def measure(features: int, code: int, batch: int, repeats: int, device: torch.device) -> dict[str, object]:
    torch.manual_seed(0)
    network = LinearHypernetwork(code_dim=code, features=features).to(device)
    inputs = (
        torch.randn(batch, code, device=device, requires_grad=True),
        torch.randn(batch, features, device=device, requires_grad=True),
    )
    direction = torch.randn(batch, features, device=device)
    jobs = {name: lambda form=form: run(form, network, inputs, direction) for name, form in FORMS.items()}
    results = {name: job() for name, job in jobs.items()}
    difference = max(
        float((a - b).abs().max() / b.abs().max())
        for a, b in zip(results["contracted"], results["matrices"], strict=True)
    )
    del results
    memory = {name: extra_bytes(job, device) for name, job in jobs.items()}
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            times[name].append(seconds(job, device))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "features": features,
        "code": code,
        "batch": batch,
        "largest relative difference": difference,
        "seconds": medians,
        "seconds ratio": medians["contracted"] / medians["matrices"],
        "extra MB": {name: round(value / 2**20, 1) for name, value in memory.items()},
        "extra memory ratio": memory["contracted"] / memory["matrices"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the hypernetwork.")
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--code", type=int, default=128)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    result = {
        **measure(options.features, options.code, options.batch, options.repeats, device),
        **passport(device),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
