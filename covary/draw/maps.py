"""Maps of rows in two dimensions, side by side, coloured by group."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
import numpy as np
from numpy.typing import NDArray

from covary.draw.curves import GRID, INK, Scheme

TYPE_COLOURS = ("#1b9e77", "#e6ab02", "#7570b3", "#d95f02", "#e7298a")  # ColorBrewer's Dark2
STEP_COLOURS = ("#440154", "#31688e", "#35b779", "#fde725")  # viridis at 0, 1/3, 2/3 and 1: from low to high

MARKERS = ("o", "s", "^", "D", "v")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One map.

    points: float (n, 2). groups: int (n,), indices into ``names``. note: a line below the title.
    ordered: the groups are steps from low to high.
    """

    title: str
    note: str
    points: NDArray[np.floating]
    groups: NDArray[np.integer]
    names: Sequence[str]
    ordered: bool = False


def maps(
    panels: Sequence[Panel], *, columns: int = 3, scheme: Scheme = "light", titled: bool = True
) -> matplotlib.figure.Figure:
    """Draw the panels in rows of ``columns``, each with a legend of its groups; groups differ in colour and in form.

    titled: titles and notes are drawn above the panels.
    """
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    figure = matplotlib.figure.Figure(figsize=(4.2 * columns, 4.6 * lines), layout="constrained")
    ink = INK[scheme]
    for index, panel in enumerate(panels):
        axis = figure.add_subplot(lines, columns, index + 1)
        colours = STEP_COLOURS if panel.ordered else TYPE_COLOURS
        for group, name in enumerate(panel.names):
            points = panel.points[panel.groups == group]
            axis.scatter(
                *points.T,
                s=9,
                color=colours[group % len(colours)],
                marker=MARKERS[group % len(MARKERS)],
                label=name,
                linewidths=0,
                alpha=0.8,
            )
        if titled:
            axis.set_title(f"{panel.title}\n{panel.note}", fontsize=10, color=ink, parse_math=False)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_color(GRID[scheme])
        axis.legend(
            fontsize=8,
            markerscale=2,
            labelcolor=ink,
            frameon=False,
            ncols=3,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            handletextpad=0.2,
        )
    return figure
