"""The section of throughput and memory, and how far a run came."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from covary.report.blocks import Section
from covary.report.read import RunFiles
from covary.report.tables import compared

THROUGHPUT, MEMORY = "images_per_second", "peak_megabytes"


def throughput(runs: Sequence[RunFiles]) -> Section:
    """Return images a second over the logged stretches, the time that they add up to, and the peak of memory."""
    values = [{**_rates(run), **_memory(run)} for run in runs]
    return Section(
        title="Throughput and memory", blocks=(compared("", runs, values, mark=False),) if any(values) else ()
    )


def progress(run: RunFiles) -> str:
    """Return the last logged step, and of how many where run.json says."""
    last = max((int(curve.steps[-1]) for curve in run.curves.values()), default=0)
    total = _total(run)
    return f"{last}" if total is None else f"{last} of {total}"


def _rates(run: RunFiles) -> Mapping[str, Any]:
    if THROUGHPUT not in run.curves:
        return {}
    curve, batch = run.curves[THROUGHPUT], run.settings.get("batch_size")
    low, middle, high = np.quantile(curve.values, (0.05, 0.5, 0.95)).tolist()
    found = {"images a second, median": f"{middle:.0f}", "middle 90 % of the time": f"{low:.0f} to {high:.0f}"}
    if isinstance(batch, int) and (curve.values > 0).all():
        seconds = float((np.diff(curve.steps, prepend=0) * batch / curve.values).sum())
        found["minutes in training steps"] = f"{seconds / 60:.1f}"
    return found


def _memory(run: RunFiles) -> Mapping[str, Any]:
    """Return the most memory of the first process, over all of its starts."""
    if MEMORY not in run.curves:
        return {}
    whose = "torch on the GPU" if run.environment.get("device") == "cuda" else "the process"
    return {"peak memory": f"{run.curves[MEMORY].values.max():,.0f} MB of {whose}"}


def _total(run: RunFiles) -> int | None:
    images, batch, epochs = run.environment.get("images"), run.settings.get("batch_size"), run.settings.get("epochs")
    if not (isinstance(images, int) and isinstance(batch, int) and isinstance(epochs, int) and batch > 0):
        return None
    return images // batch * epochs
