"""Figures 1 and 4 of the paper made again: maps of transformation codes and of the hypernetwork's matrices."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from covary import dist
from covary.draw.maps import Panel, maps
from covary.evaluation.clusters import NEIGHBOURS, flatten, silhouette, trustworthiness
from covary.evaluation.codes import Codes, codes_of
from covary.evaluation.result import check_writable
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject
from covary.evaluation.transformations import TYPES
from covary.reproduction.plan import Planned, choose_scale, choose_table, deviations, plan
from covary.reproduction.stages import Place, Say, train_all, unfinished
from covary.reproduction.tables import TABLES
from covary.rundir import write_atomic
from covary.version import __version__, commit

IMAGES = 1000
LIKE = "table5"  # whose setting the figures' runs have
SUFFIXES = ("png", "svg", "json")
RANGES = ("first quarter", "second", "third", "last quarter")
FIGURES: Mapping[str, tuple[str, ...]] = MappingProxyType({"figure1": ("equimod", "stl"), "figure4": ("stl",)})
"""The rows whose runs a figure shows."""


@dataclass(frozen=True, kw_only=True)
class Map:
    """A panel's numbers.

    silhouette:      of the groups, in the rows before they are flattened; ``flat_silhouette`` in the map.
    trustworthiness: of the map.
    """

    title: str
    method: str
    rows: int
    silhouette: float
    flat_silhouette: float
    trustworthiness: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure made again: its maps, and what they depend on."""

    figure: str
    scale: str
    data: str
    images: int
    epochs: int
    seed: int
    deviations: tuple[str, ...]
    maps: tuple[Map, ...]
    covary: str
    commit: str | None


def reproduce_figure(
    name: str,
    *,
    out: str | Path,
    scale: str = "demo",
    data: str | None = None,
    epochs: int | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    cache: str | Path | None = None,
    say: Say = print,
) -> Figure:
    """Make a figure of the paper again: train the runs that are missing, draw ``out/NAME.png`` and ``.svg``.

    Its numbers go to ``out/NAME.json``. Runs lie where those of the tables do (``reproduce``).

    name: a name of ``FIGURES``. Everything else is as for ``reproduce``, also what is raised.
    """
    rows, at, folder = FIGURES[choose_table(name, FIGURES)], choose_scale(scale), Path(out)
    for suffix in SUFFIXES:
        check_writable(folder / f"{name}.{suffix}")
    planned = plan(TABLES[LIKE], at, rows=rows, seeds=1, data=data, epochs=epochs, out=folder)
    place = Place(
        device=dist.choose_device(device),
        root=None if root is None else Path(root),
        cache=None if cache is None else Path(cache),
        options=at.options,
        say=say,
    )
    left = unfinished(planned, place=place)
    say(f"train  {len(planned) - len(left)} of {len(planned)} runs are there")
    train_all(left, place=place)
    say(f"draw  {name}")
    return draw_figure(name, planned, scale=scale, out=folder, place=place)


def draw_figure(name: str, planned: Sequence[Planned], *, scale: str, out: Path, place: Place) -> Figure:
    """Draw a figure from finished runs, one of each of its rows."""
    data = planned[0].run.data
    codes = {each.row: codes_of(_subject(each, place), IMAGES) for each in planned}
    panels, numbers = zip(*(_figure1(codes) if name == "figure1" else _figure4(codes["stl"])), strict=True)
    drawn = maps(panels)
    out.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES[:2]:
        drawn.savefig(out / f"{name}.{suffix}", dpi=150)
    figure = Figure(
        figure=name,
        scale=scale,
        data=data,
        images=len(codes["stl"].rows),
        epochs=planned[0].run.epochs,
        seed=planned[0].seed,
        deviations=tuple(deviations(planned)),
        maps=numbers,
        covary=__version__,
        commit=commit(),
    )
    write_atomic(out / f"{name}.json", json.dumps(asdict(figure), indent=2) + "\n")
    return figure


def _figure1(codes: Mapping[str, Codes]) -> list[tuple[Panel, Map]]:
    equimod, stl = codes["equimod"], codes["stl"]
    return [
        _map("EquiMod: matrices W(t), t from labels", equimod.maps, equimod.types, TYPES),
        _map("STL: matrices W(t), t from pairs", stl.maps, stl.types, TYPES),
        _map("STL: transformation codes", stl.rows, stl.types, TYPES),
    ]


def _figure4(codes: Codes) -> list[tuple[Panel, Map]]:
    found = []
    for index, name in enumerate(TYPES):
        rows = codes.types == index
        found.append(_map(f"STL's codes: {name}", codes.rows[rows], codes.quarters[rows], RANGES, ordered=True))
    return found


def _map(title: str, rows: Tensor, groups: Tensor, names: Sequence[str], *, ordered: bool = False) -> tuple[Panel, Map]:
    flat, method = flatten(rows, seed=0)
    neighbours = min(NEIGHBOURS, len(rows) // 2 - 1)
    numbers = Map(
        title=title,
        method=method,
        rows=len(rows),
        silhouette=silhouette(rows, groups),
        flat_silhouette=silhouette(flat, groups),
        trustworthiness=trustworthiness(rows, flat, neighbours=neighbours),
    )
    note = f"{method}; silhouette {numbers.silhouette:.2f}, trustworthiness {numbers.trustworthiness:.2f}"
    panel = Panel(title=title, note=note, points=flat.numpy(), groups=groups.numpy(), names=names, ordered=ordered)
    return panel, numbers


def _subject(planned: Planned, place: Place) -> Subject:
    return Subject(
        source=resolve(planned.folder),
        data=planned.run.data,
        device=place.device,
        batch_size=256,
        seed=0,
        options=place.options,
        root=place.root,
        cache=place.cache,
    )
