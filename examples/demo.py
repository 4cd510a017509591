"""What `make demo` runs: pretrain with STL on the embedded shapes, then compare with the untrained encoder."""

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import rich.console
import rich.table

import covary
from covary.evaluation import Result
from covary.training import Session


def table(rows: Mapping[str, Sequence[Result]]) -> rich.table.Table:
    """Return a line for each encoder, with the top-1 accuracy of each of its results."""
    shown = rich.table.Table(title="accuracy on held-out shapes (12 classes)")
    for column in ("encoder", "kNN", "linear"):
        shown.add_column(column)
    for name, results in rows.items():
        shown.add_row(name, *(f"{result.metrics['top1']:.1%}" for result in results))
    return shown


def main(out: Path) -> None:
    start = time.perf_counter()
    if (out / "run.json").exists():
        shutil.rmtree(out)  # the demo's last run
    run = covary.pretrain(recipe="demo", out=out, session=Session(knn_epochs=4))
    trained = covary.evaluate(run, data="shapes", task=["knn", "linear"])
    untrained = covary.evaluate(f"untrained:{run}", data="shapes", task=["knn", "linear"])
    console = rich.console.Console()
    console.print(table({"untrained": untrained, "STL, no labels": trained}))
    console.print(f"{time.perf_counter() - start:.0f} s in all; the run is in {run}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
