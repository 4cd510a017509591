"""What a section is made of; all text is plain, whatever it holds, and the page escapes it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


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
    """Curves of all runs that logged something, and their last values in words."""

    title: str
    series: tuple[Series, ...]
    last: tuple[str, ...]


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


Block = Text | Command | Table | Charts | Picture


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; one without blocks is left out."""

    title: str
    blocks: tuple[Block, ...]
