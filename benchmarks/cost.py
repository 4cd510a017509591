"""Time of a step and memory of every method in multiples of SimCLR: the paper's table 1, for all rows.

``python benchmarks/cost.py [--encoder resnet18] [--size 96] [--batch 64] [--steps 8] [--rows stl ...] [--device cuda]
[--precision bf16] [--out FILE]``: a step is forward, backward, optimiser and teacher on views that lie ready. Each
method takes turns with SimCLR, step by step after a warm-up, so that a busy moment meets both; the ratio is that of
the medians. Then its phases are timed apart. Memory is what weights and momentum take, and the peak of a step above
them, gradients included.

    python benchmarks/cost.py --device cuda --encoder resnet50 --size 224 --batch 256 --warmup 20 --steps 200 \\
        --precision bf16 --out bf16.json    # and once with --precision fp32
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from meter import extra_bytes, passport, seconds
from rows import SHOWN, run_of

from covary.run import Run
from covary.training import build
from covary.types import Views

REFERENCE = "simclr"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A training step, and the bytes of what stands between steps: weights and momentum."""

    forward: Callable[[], torch.Tensor]
    update: Callable[[], None]
    standing: int

    def __call__(self) -> None:
        self.forward().backward()
        self.update()

    def phases(self, device: torch.device) -> list[float]:
        """Return the seconds of forward, backward and update."""
        losses: list[torch.Tensor] = []
        jobs = (lambda: losses.append(self.forward()), lambda: losses[0].backward(), self.update)
        return [seconds(job, device) for job in jobs]


def views_of(run: Run, device: torch.device) -> Views:
    """Return noise in the shape of the run's views, with numbers between 0 and 1."""
    recipe, b = run.augment, run.batch_size
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(device)

    numbers = max(column.stop for column in recipe.columns.values())
    turned = noise(4, b, 3, recipe.turned.size, recipe.turned.size) if recipe.turned else None
    images = noise(recipe.views, b, 3, recipe.size, recipe.size)
    params = torch.rand(recipe.views, b, numbers, generator=generator).to(device)
    return Views(images=images, params=params, partners=recipe.partners, turned=turned)


def step_of(run: Run, device: torch.device, precision: str) -> Step:
    """Return a training step of a run."""
    method, optimizer = build(run, device)
    views = views_of(run, device)
    method.train()

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            return method(views)["loss"]

    def update() -> None:
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(0.5)

    standing = sum(p.nbytes * (2 if p.requires_grad else 1) for p in method.parameters())
    return Step(forward=forward, update=update, standing=standing)


def measure(row: str, options: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """Return one line of the table."""
    reference, own = (
        step_of(
            replace(
                run_of(name, setting="stl10", image_size=options.size),
                encoder=options.encoder,
                stem="imagenet",
                batch_size=options.batch,
            ),
            device,
            options.precision,
        )
        for name in (REFERENCE, row)
    )
    for _ in range(options.warmup):
        reference()
        own()
    extra = extra_bytes(own, device)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(options.steps):
        times[0].append(seconds(reference, device))
        times[1].append(seconds(own, device))
    phases = [own.phases(device) for _ in range(options.steps)]
    base, median = (statistics.median(values) for values in times)
    low, _, high = statistics.quantiles((b / a for a, b in zip(*times, strict=True)), n=4)
    return {
        "row": row,
        "ms": round(1000 * median, 1),
        "ratio": round(median / base, 3),
        "quartiles of the ratio": [round(low, 3), round(high, 3)],
        "forward, backward, update ms": [round(1000 * statistics.median(phase)) for phase in zip(*phases, strict=True)],
        "weights and momentum MB": round(own.standing / 1e6),
        "peak of a step above them MB": round(extra / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time of a step and memory of every method.")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rows", nargs="+", default=[row for row in SHOWN if not row.endswith("augmix")])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    lines = []
    for row in options.rows:
        lines.append(measure(row, options, device))
        print(json.dumps(lines[-1]), flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
    given = {name: getattr(options, name) for name in ("encoder", "size", "batch", "steps", "precision")}
    result = {**given, **passport(device), "rows": lines}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
