"""What the counts of ``collectives.py`` cost on many GPUs, computed: the table of docs/scale.md.

``python benchmarks/scale.py COUNTS.json ... [--images 32]``: one row for each file. A ring of N moves an all-reduce of
B bytes in 2 (N - 1)/N B / bandwidth, and gathers B bytes of each in (N - 1) B / bandwidth; latencies are added by the
call. Bandwidths, latency and rate of computing are assumed, see below.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
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


def row(counts: dict[str, Any], *, images: int) -> list[str]:
    """Return the cells of a row of the table; ``images``: of each GPU."""
    lines = {(line["what"], line["pass"]): line for line in counts["lines"]}
    sync = counts["as SyncBatchNorm"]
    gradients = lines["gradients", "backward"]
    gathered = sum(line["bytes"] for line in counts["lines"] if line["collective"] == "all_gather")
    rows = gathered * images * counts["processes"] / counts["batch"]
    calls = sum(line["calls"] for line in sync)
    seconds = flops(counts["encoder"], size=SIZES[counts["setting"]], images=images) / COMPUTE
    rank = f", rank {counts['rank']}" if counts["rank"] else ""
    cells = [
        f"{counts['encoder']}@{SIZES[counts['setting']]}, {counts['row']}{rank}",
        f"{gradients['bytes'] / 1e6:,.1f}",
        f"{rows / 1e6:.2f}",
        f"{calls}",
        f"{sum(line['bytes'] for line in sync) / 1e6:.2f}",
    ]
    for machines in (NODE, CLUSTER):
        cells.append(f"{1e3 * machines.reduce(gradients['bytes']):.2f}")
        cells.append(f"{1e3 * (machines.gather(rows) + machines.reduce(rows * machines.gpus)):.2f}")
    low, high = (1e3 * calls * latency for latency in LATENCY)
    return [*cells, f"{low:.1f} to {high:.1f}", f"{1e3 * seconds:.1f}"]


HEAD = (
    "",
    "gradients MB",
    "rows MB",
    "SyncBN calls",
    "SyncBN MB",
    *(f"{name} ms, {machines.gpus}" for machines in (NODE, CLUSTER) for name in ("gradients", "rows")),
    "SyncBN ms",
    "computing ms",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of collectives on many GPUs, computed.")
    parser.add_argument("counts", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=32, help="of each GPU")
    options = parser.parse_args()
    rows = [row(json.loads(path.read_text()), images=options.images) for path in options.counts]
    for cells in (HEAD, ["---"] * len(HEAD), *rows):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
