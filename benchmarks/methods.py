"""Every method trained for two epochs: that it runs, what it takes, and that its features do not collapse.

``python benchmarks/methods.py --data SPEC [--setting small] [--rows stl byol ...] [--epochs 2] [--out FILE]``: each row
trains in a process of its own, and its encoder is measured by kNN on the held-out images. The table has trained
parameters, milliseconds a step (median over the log, augmentation included), peak memory of the process, the last
losses, the spread of the features at the first log and the last (0 is collapsed) and the kNN accuracy; its first line
is that of untrained weights.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from rows import SHOWN, run_of

from covary.evaluation import evaluate
from covary.meter import memory, passport
from covary.run import Run
from covary.rundir import RunDir
from covary.step import build
from covary.training import Session, train

CPU = torch.device("cpu")


def measure(row: str, options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Train one row and return its line; called in a process of its own."""
    torch.set_num_threads(options.threads)
    run = run_of(row, setting=options.setting, data=options.data)
    run = replace(run, epochs=options.epochs, batch_size=options.batch)
    trained, terms = parameters_and_terms(run)
    train(run, folder, Session(device="cpu", log_steps=5, knn_epochs=-1))
    lines = [json.loads(line) for line in RunDir(folder).metrics_file.read_text().splitlines()]
    last = lines[-1]
    return {
        "row": row,
        "parameters": trained,
        "ms": round(statistics.median(1000 * options.batch / line["images_per_second"] for line in lines), 1),
        "peak MB": round(memory("VmHWM") / 1e6),
        "losses": {name: round(last[name], 4) for name in ("loss", *terms)},
        "spread, first and last": [round(line["spread"], 3) for line in (lines[0], last)],
        "knn": knn(str(folder), options),
    }


def parameters_and_terms(run: Run) -> tuple[int, list[str]]:
    method, _ = build(run.resolved(CPU), CPU)
    return sum(p.numel() for p in method.parameters() if p.requires_grad), list(method.weights)


def knn(source: str, options: argparse.Namespace) -> float:
    (result,) = evaluate(source, data=options.data, task="knn", device="cpu")
    return round(result.metrics["top1"], 4)


def untrained(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    return {"row": "untrained weights", "knn": knn(f"untrained:{folder}", options)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Every method trained for two epochs.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--setting", default="small")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", nargs="+", default=SHOWN)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    lines: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in options.rows:
            own = Path(folder) / row
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                if not lines:
                    lines.append(pool.apply(measure, (row, options, own)))
                    lines.insert(0, pool.apply(untrained, (options, own)))
                    print(json.dumps(lines[0]), flush=True)
                else:
                    lines.append(pool.apply(measure, (row, options, own)))
            print(json.dumps(lines[-1]), flush=True)
    given = {name: getattr(options, name) for name in ("setting", "epochs", "batch")}
    torch.set_num_threads(options.threads)
    result = {**given, "images": Path(options.data).name, **passport(CPU), "rows": lines}
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
