"""What the scripts beside this file measure: the rows of the paper's tables, and what no table of it has."""

from dataclasses import replace

from covary.recipes import BASE_MODELS, NINE, ROWS, Row, start_run
from covary.run import Run

OTHERS = {
    "moco": Row(method="moco"),
    "vicreg": Row(method="vicreg"),
    "moco-stl": Row(method="stl", base="moco"),
    "vicreg-stl": Row(method="stl", base="vicreg"),
    "equimod-concat": Row(method="equimod", options={"predictor": "concat"}),
    "sie-original": Row(method="sie", options={"form": "original"}),
}
SHOWN = [*NINE, *BASE_MODELS, *OTHERS]


def run_of(row: str, *, setting: str, data: str | None = None, image_size: int | None = None) -> Run:
    """Return the run of a row in a setting of ``covary.recipes``."""
    if row in ROWS:
        return start_run(recipe=f"{setting}/{row}", data=data, image_size=image_size)
    extra = OTHERS[row]
    run = start_run(recipe=setting, data=data, image_size=image_size, method=extra.method, base=extra.base)
    return replace(run, method=replace(run.method, **extra.options))
