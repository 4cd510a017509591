"""Maps of rows in two dimensions, side by side, coloured by group."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
import numpy as np
from numpy.typing import NDArray

TYPE_COLOURS = ("#1b9e77", "#e6ab02", "#7570b3", "#d95f02", "#e7298a")  # ColorBrewer's Dark2
STEP_COLOURS = ("#440154", "#31688e", "#35b779", "#fde725")  # viridis at 0, 1/3, 2/3 and 1: from low to high


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


def maps(panels: Sequence[Panel], *, columns: int = 3) -> matplotlib.figure.Figure:
    """Draw the panels in rows of ``columns``, each with a legend of its groups."""
    columns = min(columns, len(panels))
    lines = -(-len(panels) // columns)
    figure = matplotlib.figure.Figure(figsize=(4.2 * columns, 4.6 * lines), layout="constrained")
    for index, panel in enumerate(panels):
        axis = figure.add_subplot(lines, columns, index + 1)
        colours = STEP_COLOURS if panel.ordered else TYPE_COLOURS
        for group, name in enumerate(panel.names):
            points = panel.points[panel.groups == group]
            axis.scatter(*points.T, s=7, color=colours[group % len(colours)], label=name, linewidths=0, alpha=0.8)
        axis.set_title(f"{panel.title}\n{panel.note}", fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
        axis.legend(fontsize=8, markerscale=2, loc="best", framealpha=0.7)
    return figure
