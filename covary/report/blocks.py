"""What a section is made of; all text is plain, whatever it holds, and the page escapes it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from covary.draw.maps import Panel
from covary.draw.tiles import Tile


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph; a warning stands out."""

    kind: ClassVar[str] = "text"
    words: str
    warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to copy, and what it does."""

    kind: ClassVar[str] = "command"
    words: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell. exact: the whole number behind a rounded one. run: the number of the run that a head cell names."""

    text: str
    number: bool = False
    exact: str | None = None
    run: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table; ``differs`` where the runs do."""

    cells: tuple[Cell, ...]
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; folded away where it is long."""

    kind: ClassVar[str] = "table"
    title: str
    head: tuple[Cell, ...]
    rows: tuple[Row, ...]
    folded: bool = False


@dataclass(frozen=True, kw_only=True)
class Series:
    """A run's values over steps, both (n,)."""

    run: int
    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves of runs, and a value of each in words, the last one where they go over steps.

    across: what they go over. top: where values end, which then begin at 0.
    """

    title: str
    series: tuple[Series, ...]
    last: tuple[str, ...]
    across: str = "step"
    top: float | None = None


@dataclass(frozen=True, kw_only=True)
class Charts:
    """Charts beside each other, as many in a line as there is room for."""

    kind: ClassVar[str] = "charts"
    charts: tuple[Chart, ...]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A PNG image with its caption."""

    kind: ClassVar[str] = "picture"
    caption: str
    png: bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Views of an image along a parameter, and how far the features of each run move."""

    title: str
    tiles: tuple[Tile, ...]
    chart: Chart


@dataclass(frozen=True, kw_only=True)
class Orbit:
    """An image along one parameter after the other."""

    kind: ClassVar[str] = "orbit"
    title: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The images that a run finds."""

    run: int
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, kw_only=True)
class Query:
    """An image, and those that each run finds nearest to it."""

    asked: Tile
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Queries:
    """Images and what is nearest to them."""

    kind: ClassVar[str] = "queries"
    title: str
    queries: tuple[Query, ...]


@dataclass(frozen=True, kw_only=True)
class Map:
    """A run's rows in two dimensions."""

    run: int
    panel: Panel


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Maps beside each other."""

    kind: ClassVar[str] = "maps"
    title: str
    maps: tuple[Map, ...]


Block = Text | Command | Table | Charts | Picture | Orbit | Queries | Maps


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; one without blocks is left out."""

    title: str
    blocks: tuple[Block, ...]
