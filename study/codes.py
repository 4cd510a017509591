"""Figures 1 and 4 of the paper from the runs of a study: transformation codes and the maps made of them."""

import json
from pathlib import Path

from covary.dist import choose_device
from covary.errors import InputError
from covary.evaluation import Options
from covary.reproduction.figures import BY_QUARTER, BY_TYPE, draw
from covary.reproduction.plan import Planned
from covary.reproduction.stages import Place as Measuring
from covary.rundir import write_atomic
from study.measure import Place, run_folder
from study.plan import choose_study, run_of
from study.sets import spec_of

STUDY = "S1"
FIGURES = {"figure1": (BY_TYPE, ("equimod", "stl")), "figure4": (BY_QUARTER, ("stl",))}
"""How the paper's figures are coloured, and the rows they show."""


def draw_figures(place: Place) -> None:
    """Draw both figures of the runs of seed 0 into ``results/S1``, with their scores as JSON.

    Raises InputError: a run is not there.
    """
    data = spec_of(choose_study(STUDY).data, place.sets, place.runs)
    for name, (kind, rows) in FIGURES.items():
        planned = []
        for row in rows:
            folder, run = run_folder(STUDY, row, 0, place), run_of(STUDY, row, seed=0, data=data)
            if not (folder / "method.safetensors").is_file():
                raise InputError(
                    f"{folder} is no finished run; train it: python -m study run {STUDY} --rows {row} --seeds 0."
                )
            planned.append(Planned(row=row, seed=0, run=run, paper=run, folder=folder))
        measuring = Measuring(
            device=choose_device("auto"), root=None, cache=place.cache, options=Options(), say=lambda line: print(line)
        )
        measured = draw(planned, kind=kind, file=place.results / STUDY / f"{name}.png", place=measuring)
        content = [
            {"row": each.row, "protocol": result.protocol, "metrics": result.metrics}
            for each in measured
            for result in each.results.values()
        ]
        write_atomic(place.results / STUDY / f"{name}.json", json.dumps(content, indent=1) + "\n")


def code_section(results: Path, docs: Path) -> str:
    """Return the section of the figures, and put them beside the page; nothing where there are none."""
    parts = []
    for name, (kind, _) in FIGURES.items():
        picture, scores = results / STUDY / f"{name}.png", results / STUDY / f"{name}.json"
        if not (picture.is_file() and scores.is_file()):
            continue
        write_atomic(docs / "images" / f"{STUDY}-{name}.png", picture.read_bytes())
        measured = json.loads(scores.read_text(encoding="utf-8"))
        coloured = "type" if kind == BY_TYPE else "the quarter of its range that the parameter lies in"
        scores_of = [f"{each['row']} {_silhouettes(each['metrics'])}" for each in measured]
        parts += [
            f"![Maps of transformation codes](images/{STUDY}-{name}.png)",
            f"As the paper's {name[:-1]} {name[-1]}: {measured[0]['protocol']}. Coloured by {coloured}. "
            "Silhouette of the groups before they are flattened, -1 to 1, 0 where they lie in one another: "
            f"{'; '.join(scores_of)}.",
        ]
    return "\n\n".join(["### Codes", *parts]) if parts else ""


def _silhouettes(metrics: dict[str, float]) -> str:
    ending = ".silhouette"
    return ", ".join(
        f"{key.removesuffix(ending)} {value:.2f}" for key, value in metrics.items() if key.endswith(ending)
    )
