"""Figures 1 and 4 of the paper: maps of transformation codes and of the matrices a hypernetwork makes of them.

Figure 1 colours them by type, figure 4 the codes of each type by the quarter of its range that a parameter lies in. How
many images and which settings of UMAP are not stated there. Beside the picture: how well the rows themselves, not
their map, are clustered by what colours them (silhouette), and how far the map keeps neighbours (trustworthiness).
"""

import time
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from covary.draw.maps import Panel, maps
from covary.errors import InputError
from covary.evaluation.clusters import NEIGHBOURS, flatten, silhouette, trustworthiness
from covary.evaluation.codes import QUARTERS, Codes, codes_of
from covary.evaluation.source import resolve
from covary.evaluation.transformations import TYPES
from covary.reproduction.measuring import Measured, result_since
from covary.reproduction.plan import Planned
from covary.reproduction.stages import Place, blind_source, subject_of
from covary.reproduction.tables import CODES

IMAGES = 1000
QUARTER_NAMES = tuple(f"quarter {number}" for number in range(1, QUARTERS + 1))
BY_TYPE, BY_QUARTER = "by-type", "by-quarter"


def check_images(planned: Sequence[Planned], *, kind: str, place: Place) -> None:
    """Raise InputError, before any training, where a panel would have too few rows for ``trustworthiness``.

    A panel of BY_QUARTER has one row for each ``len(TYPES)`` test images, of BY_TYPE one for each.
    """
    run = planned[0].run
    needed = (2 * NEIGHBOURS + 1) * (len(TYPES) if kind == BY_QUARTER else 1)
    there = len(subject_of(blind_source(run, place=place), run.data, place=place).test)
    if there < needed:
        raise InputError(f"{run.data} has {there} test images; the figure needs {needed} or more, give other data.")


def draw(planned: Sequence[Planned], *, kind: str, file: Path, place: Place) -> list[Measured]:
    """Draw a figure of the runs into ``file``; return how well each is clustered.

    kind: BY_TYPE (figure 1: codes and matrices) or BY_QUARTER (figure 4: the codes of each type).
    """
    panels, measured = [], []
    for each in planned:
        begin = time.perf_counter()
        place.say(f"draw  {each.row}")
        subject = subject_of(resolve(each.folder), each.run.data, place=place)
        codes = codes_of(subject, IMAGES)
        some, metrics, flattening = (_by_type if kind == BY_TYPE else _by_quarter)(each.row, codes)
        panels += some
        result = result_since(
            begin,
            task=CODES,
            protocol=f"one change each of {len(codes.rows)} test images, {', '.join(TYPES)} in turn; mapped by "
            f"{flattening}; {subject.extractor.says_images}",
            source=str(each.folder),
            data=each.run.data,
            metrics=metrics,
        )
        measured.append(Measured(row=each.row, seed=each.seed, results={(CODES, each.run.data): result}))
    file.parent.mkdir(parents=True, exist_ok=True)
    maps(panels, columns=2 if kind == BY_TYPE else 3).savefig(file, dpi=110)
    return measured


def _by_type(row: str, codes: Codes) -> tuple[list[Panel], dict[str, float], str]:
    panels, metrics, flattening = [], {}, ""
    for name, rows in (("codes", codes.rows), ("maps", codes.maps)):
        panel, scores, flattening = _panel(f"{row}: {name}", rows, codes.types, TYPES, ordered=False)
        panels.append(panel)
        metrics |= {f"{name}.{score}": value for score, value in scores.items()}
    return panels, metrics, flattening


def _by_quarter(row: str, codes: Codes) -> tuple[list[Panel], dict[str, float], str]:
    panels, metrics, flattening = [], {}, ""
    for index, name in enumerate(TYPES):
        chosen = codes.types == index
        panel, scores, flattening = _panel(
            f"{row}: {name}", codes.rows[chosen], codes.quarters[chosen], QUARTER_NAMES, ordered=True
        )
        panels.append(panel)
        metrics |= {f"{name}.{score}": value for score, value in scores.items()}
    return panels, metrics, flattening


def _panel(
    title: str, rows: Tensor, groups: Tensor, names: Sequence[str], *, ordered: bool
) -> tuple[Panel, dict[str, float], str]:
    flat, flattening = flatten(rows, seed=0)
    scores = {"silhouette": silhouette(rows, groups), "trustworthiness": trustworthiness(rows, flat)}
    note = f"{flattening}; silhouette {scores['silhouette']:.2f}, trustworthiness {scores['trustworthiness']:.2f}"
    panel = Panel(
        title=title, note=note, points=flat.numpy(), groups=groups.numpy(), names=tuple(names), ordered=ordered
    )
    return panel, scores, flattening
