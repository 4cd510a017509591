"""What the counts of ``collectives.py`` cost on many GPUs, computed: the table of docs/scale.md.

``python benchmarks/scale.py COUNTS.json ... [--images 32]``: one row for each file, and one more for STL's full form
beside a low rank, whose gradients alone are others: four bytes a parameter. A ring of N moves an all-reduce of B bytes
in 2 (N - 1)/N B / bandwidth, and gathers B bytes of each in (N - 1) B / bandwidth; latencies are added by the call.
Bandwidths, latency and rate of computing are assumed.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rows import run_of
from torch.utils.flop_counter import FlopCounterMode

from covary.nets import build_encoder

LATENCY = 20e-6, 30e-6  # seconds of a small collective
COMPUTE = 100e12  # floating-point operations a second that convolutions reach in bf16
SIZES = {"stl10": 96, "imagenet100": 224}


@dataclass(frozen=True, kw_only=True)
class Machines:
    """GPUs in a ring, and the bytes a second that each sends to the next: nominal, one direction."""

    gpus: int
    bandwidth: float

    def reduce(self, size: float) -> float:
        """Return the seconds of an all-reduce."""
        return 2 * (self.gpus - 1) / self.gpus * size / self.bandwidth

    def gather(self, size: float) -> float:
        """Return the seconds of an all-gather of as many bytes from each."""
        return (self.gpus - 1) * size / self.bandwidth


NODE = Machines(gpus=8, bandwidth=450e9)  # NVLink 4
CLUSTER = Machines(gpus=64, bandwidth=50e9)  # 400 Gbit/s InfiniBand a GPU, the slowest link of the ring


def flops(encoder: str, *, size: int, images: int) -> int:
    """Return the operations of the encoder's forward and backward over two views."""
    with torch.device("meta"):
        network, _ = build_encoder(encoder)
        counter = FlopCounterMode(display=False)
        with counter:
            network(torch.empty(1, 3, size, size).expand(2, -1, -1, -1)).sum().backward()
    return counter.get_total_flops() * images


def gradients(counts: dict[str, Any], *, rank: int | None) -> int:
    """Return the bytes of the gradients of a row of ``covary.recipes`` at another rank, computed."""
    run = run_of(counts["row"], setting=counts["setting"], image_size=counts["size"])
    method = replace(run.method, rank=rank) if counts["row"] == "stl" else run.method
    with torch.device("meta"):
        network = replace(run, encoder=counts["encoder"], stem="imagenet", method=method).build_method()
    return sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)


def row(counts: dict[str, Any], *, images: int, rank: int | None) -> list[str]:
    """Return the cells of a row of the table; ``images``: of each GPU."""
    lines, sync = counts["lines"], counts["as SyncBatchNorm"]
    reduced = (
        sum(line["bytes"] for line in lines if line["what"] == "gradients")
        if rank == counts["rank"]
        else gradients(counts, rank=rank)
    )
    gathered = sum(line["bytes"] for line in lines if line["collective"] == "all_gather")
    rows = gathered * images * counts["processes"] / counts["batch"]
    calls, size = sum(line["calls"] for line in sync), SIZES[counts["setting"]]
    times = [
        1e3 * seconds
        for machines in (NODE, CLUSTER)
        for seconds in (machines.reduce(reduced), machines.gather(rows) + machines.reduce(rows * machines.gpus))
    ]
    return [
        f"{counts['encoder']}@{size} {counts['row']}{f', rank {rank}' if rank else ''}",
        f"{reduced / 1e6:,.1f}",
        f"{rows / 1e3:.0f}",
        f"{calls}",
        f"{sum(line['bytes'] for line in sync) / 1e6:.2f}",
        *(f"{time:.2f}" for time in times),
        f"{1e3 * calls * LATENCY[0]:.1f} to {1e3 * calls * LATENCY[1]:.1f}",
        f"{1e3 * flops(counts['encoder'], size=size, images=images) / COMPUTE:.1f}",
    ]


HEAD = (
    "encoder, method",
    "gradients MB",
    "rows kB",
    "SyncBN calls",
    "SyncBN MB",
    *(f"{what} ms, {machines.gpus} GPUs" for machines in (NODE, CLUSTER) for what in ("gradients", "rows")),
    "SyncBN latency ms",
    "computing ms",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of collectives on many GPUs, computed.")
    parser.add_argument("counts", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=32, help="of each GPU")
    options = parser.parse_args()
    files = [json.loads(path.read_text()) for path in options.counts]
    rows = [
        row(counts, images=options.images, rank=rank)
        for counts in files
        for rank in ((None, counts["rank"]) if counts["rank"] else (None,))
    ]
    for cells in (HEAD, ["---"] * len(HEAD), *rows):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
