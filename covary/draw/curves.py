"""Curves of several runs over steps, for a light or a dark page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Scheme = Literal["light", "dark"]

PALETTE: Mapping[Scheme, tuple[str, ...]] = MappingProxyType(
    {
        "light": ("#0b63a5", "#c4511b", "#1b7f5c", "#7a4fb0", "#9a6f00", "#b03a6e"),
        "dark": ("#6db3f2", "#f2935c", "#5ecfa3", "#b895ea", "#e0b84a", "#ec86b2"),
    }
)
DASHES = ("solid", "dashed", "dotted")  # one for each time that the colours are used up
INK: Mapping[Scheme, str] = MappingProxyType({"light": "#4d5660", "dark": "#a9b3bd"})
GRID: Mapping[Scheme, str] = MappingProxyType({"light": "#e2e6ea", "dark": "#2c333a"})
MOST = 600  # points of a line; more are drawn as the means of as many stretches
FEW = 25  # points of the longest line up to which each is marked, as one that stands alone is


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run's values: steps and values (n,); ``style`` counts colours, then dashes."""

    label: str
    style: int
    steps: NDArray[np.floating]
    values: NDArray[np.floating]


def curves(
    lines: Sequence[Line], *, scheme: Scheme, title: str | None = None, across: str = "step", top: float | None = None
) -> Figure:
    """Draw lines on no background; with a title, they and their labels are named in the figure.

    across: what they go over. top: where the values end, which then begin at 0.
    """
    figure = Figure(figsize=(4.4, 2.6), layout="constrained")
    axes = figure.subplots()
    draw_lines(axes, lines, scheme=scheme, across=across, top=top)
    if title is not None:
        axes.set_title(title, color=INK[scheme], fontsize=10, parse_math=False)
        name_lines(axes, scheme=scheme)
    return figure


def draw_lines(axes: Axes, lines: Sequence[Line], *, scheme: Scheme, across: str, top: float | None) -> None:
    """Draw lines into axes; see ``curves``."""
    ink = INK[scheme]
    longest = max((len(line.steps) for line in lines), default=0)
    for line in lines:
        turn, colour = divmod(line.style, len(PALETTE[scheme]))
        steps, values = thinned(line.steps), thinned(line.values)
        axes.plot(
            steps,
            values,
            label="\N{ZERO WIDTH SPACE}" + line.label if line.label.startswith("_") else line.label,
            color=PALETTE[scheme][colour],
            linestyle=DASHES[turn % len(DASHES)],
            linewidth=1.6,
            marker="o" if longest <= FEW or len(values) == 1 else None,
            markersize=3.2,
        )
    axes.grid(axis="y", color=GRID[scheme], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(ink)
    axes.tick_params(colors=ink, labelsize=8, left=False)
    axes.ticklabel_format(useOffset=False)
    axes.set_xlabel(across, color=ink, fontsize=8)
    if top is not None:
        axes.set_ylim(0, top)


def name_lines(axes: Axes, *, scheme: Scheme) -> None:
    """Add a legend, whose labels are no formulas."""
    for text in axes.legend(fontsize=8, labelcolor=INK[scheme], frameon=False).get_texts():
        text.set_parse_math(False)


def thinned(values: NDArray[np.floating], most: int = MOST) -> NDArray[np.floating]:
    """Return the means of ``most`` equal stretches of (n,), or the values where there are no more than that."""
    return values if len(values) <= most else np.array([part.mean() for part in np.array_split(values, most)])
