"""The section of sample orbits: images along one parameter at a time, and how far the features of each run move."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from covary.draw.tiles import Tile
from covary.errors import InputError
from covary.evaluation.orbits import Orbits
from covary.evaluation.sensitivity import SensitivityOptions, moved
from covary.report.blocks import Chart, Orbit, Section, Series, Strip, Text
from covary.report.read import RunFiles
from covary.report.shown import Shown, chosen, class_name, pixels, sharpest
from covary.report.tables import number

IMAGES = 3
LEAST = 0.01  # where the scale of distances ends at least


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter in words, and how far it reaches in its unit."""

    title: str
    across: str
    reach: Callable[[SensitivityOptions], float]


PARAMETERS: Mapping[str, Parameter] = MappingProxyType(
    {
        "rotation": Parameter(title="Rotation", across="degrees", reach=lambda options: options.rotation),
        "zoom": Parameter(title="Zoom", across="% of the side cut off", reach=lambda options: 100 * options.zoom),
        "hue": Parameter(title="Hue", across="degrees on the colour wheel", reach=lambda options: 360 * options.hue),
        "brightness": Parameter(title="Brightness", across="% brighter", reach=lambda options: 100 * options.color),
    }
)


def orbits(runs: Sequence[RunFiles], shown: Sequence[Shown]) -> Section:
    """Return the orbits of some test images, and a line for each run that has none."""
    notes = [
        Text(words=f"{run.name} has no trained encoder yet, and is in no picture of features.")
        for run in runs
        if not run.done
    ]
    if not shown:
        return Section(title="Sample orbits", blocks=tuple(notes))
    ruler = Orbits(sharpest(shown).subject)
    rows = chosen(ruler.subject, IMAGES)
    measured: dict[int, Mapping[str, Tensor]] = {}
    units = []
    for each in shown:
        orbit = Orbits(each.subject)
        try:
            measured[each.run] = {name: _distances(orbit, name, rows) for name in PARAMETERS}
            units.append(f"{number(orbit.unit)} of {each.name}")
        except InputError as error:
            notes.append(Text(words=f"{each.name}: {error}", warning=True))
    views = {name: ruler.images(name, rows) for name in PARAMETERS}
    top = 1.05 * max([LEAST, *(values.max().item() for each in measured.values() for values in each.values())])
    blocks = [
        Orbit(
            title=_title(ruler, int(row)),
            strips=tuple(
                _strip(ruler, name, views[name][:, place], {run: d[name][:, place] for run, d in measured.items()}, top)
                for name in PARAMETERS
            ),
        )
        for place, row in enumerate(rows)
    ]
    told = f" ({', '.join(units)})" if units else ""
    words = (
        "Test images along one parameter at a time. Curves: how far the features move from those of the image as it is "
        "(0), as 1 - cosine in units of the mean distance between different images"
        f"{told}. 0 has not moved, 1 is as far as another image; all curves have one scale."
    )
    return Section(title="Sample orbits", blocks=(Text(words=words), *notes, *blocks))


def _distances(orbits: Orbits, name: str, rows: Tensor) -> Tensor:
    """Return how far the features of each image move, 0 for the image as it is, float64 (1 + v, n)."""
    features = orbits.features(name, rows)
    away = [moved(features[0, [i]], features[1:, [i]], orbits.unit) for i in range(len(rows))]
    return torch.cat([torch.zeros(1, len(rows), dtype=torch.float64), torch.stack(away, dim=1)])


def _strip(ruler: Orbits, name: str, views: Tensor, distances: Mapping[int, Tensor], top: float) -> Strip:
    """Return the strip of one image: its views (1 + v, 3, s, s), and distances (1 + v,) by run, from low to high."""
    options, parameter = ruler.subject.options.sensitivity, PARAMETERS[name]
    steps = parameter.reach(options) * np.array([0.0, *options.orbits[name]])
    order = steps.argsort()
    return Strip(
        title=parameter.title,
        tiles=tuple(
            Tile(pixels=pixels((views[view] * 255).round().byte()), words=f"{steps[view]:g}".replace("-", "\u2212"))
            for view in order
        ),
        chart=Chart(
            title="Distance",
            series=tuple(
                Series(run=run, steps=steps[order], values=values.numpy()[order]) for run, values in distances.items()
            ),
            last=tuple(f"up to {values.max().item():.2f}" for values in distances.values()),
            across=parameter.across,
            top=top,
        ),
    )


def _title(ruler: Orbits, row: int) -> str:
    labels = ruler.subject.test.labels
    name = class_name(ruler.subject, None if labels is None else int(labels[row]))
    return f"Test image {row}{f', {name}' if name else ''}"
