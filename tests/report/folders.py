"""Run folders written by hand: what a report reads, without training."""

import json
from pathlib import Path
from typing import Any

from covary import config
from covary.recipes import start_run
from covary.rundir import RunDir

ENVIRONMENT = {"covary": "0.1.0", "torch": "2.15.0", "device": "cpu", "threads": 1, "images": 64, "compiled": False}
METRICS = [
    {"step": 10, "epoch": 0, "loss": 5.25, "spread": 0.75, "images_per_second": 100.0},
    {"step": 16, "epoch": 1, "loss": 4.123456, "spread": 0.5, "images_per_second": 200.0},
    {"step": 16, "epoch": 1, "knn": 0.8125},
]
KNN = {"top1": 0.8380123, "k": 20, "chance.top1": 0.1}


def result(task: str = "knn", **changed: Any) -> dict[str, Any]:
    """Return the JSON of a result."""
    content = {"task": task, "protocol": "kNN, k = 20", "source": "runs/a", "data": "shapes", "metrics": KNN}
    return {**content, "seconds": 1.5, "covary": "0.1.0", "commit": None, **changed}


def run_folder(path: Path, *, done: bool = True, results: list[dict[str, Any]] | None = None, **changed: Any) -> Path:
    """Write a run folder; ``changed`` replaces settings at the top of run.json."""
    folder = RunDir(path)
    settings = {**config.to_json(start_run(recipe="demo")), "epochs": 2, "batch_size": 8, **changed}
    folder.write_run(settings, dict(ENVIRONMENT))
    folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in METRICS))
    if done:
        folder.encoder_file.touch()
    for index, content in enumerate([result()] if results is None else results):
        file = path / "results" / f"{index}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return path
