"""Time of a step and memory of every method in multiples of SimCLR: the paper's table 1, for all rows.

``python benchmarks/cost.py [--encoder resnet18] [--size 96] [--batch 64] [--steps 8] [--rows stl ...] [--device cuda]
[--precision bf16] [--out FILE]``: how it is measured is told in ``covary.reproduction.cost``.

    python benchmarks/cost.py --device cuda --encoder resnet50 --size 224 --batch 256 --warmup 20 --steps 200 \\
        --precision bf16 --out bf16.json    # and once with --precision fp32
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from rows import SHOWN, run_of

from covary.meter import passport
from covary.reproduction.cost import cost

REFERENCE = "simclr"


def measure(row: str, options: argparse.Namespace, device: torch.device) -> dict[str, object]:
    """Return one line of the table."""
    reference, own = (
        replace(
            run_of(name, setting="stl10", image_size=options.size),
            encoder=options.encoder,
            stem="imagenet",
            batch_size=options.batch,
            precision=options.precision,
        )
        for name in (REFERENCE, row)
    )
    found = cost(own, reference=reference, device=device, steps=options.steps, warmup=options.warmup)
    return {
        "row": row,
        "ms": round(1000 * found.seconds, 1),
        "ratio": round(found.ratio, 3),
        "quartiles of the ratio": [round(value, 3) for value in found.quartiles],
        "forward, backward, update ms": [round(1000 * phase) for phase in found.phases],
        "weights and momentum MB": round(found.standing / 1e6),
        "peak of a step above them MB": round(found.peak / 1e6, 0),
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
