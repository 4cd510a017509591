"""The first batch: two images a line, and beside them both in each view, so that what partners share meets the eye."""

import matplotlib.figure
import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

COLOURS = ("#d95f02", "#1f78b4", "#7570b3", "#1b9e77")  # of views: ColorBrewer's Dark2 and Paired
PANEL, GAP, HEAD, EDGE = 1.0, 0.22, 0.62, 0.06  # inches: side of a panel, space between groups, titles, margin


def first_batch(
    images: list[NDArray[np.uint8]],
    views: NDArray[np.floating],
    boxes: NDArray[np.floating],
    *,
    partners: bool,
    title: str,
) -> matplotlib.figure.Figure:
    """Draw the images in twos, then each view of both; frames and the boxes of the crops share a colour.

    images:   b arrays (h, w, 3), as they lie in the store.
    views:    (v, b, s, s, 3) in [0, 1], not normalised.
    boxes:    (v, b, 4), top, left, height, width of each view's crop as fractions of its image.
    partners: rows 2i and 2i+1, which stand on one line, are partners.
    """
    lines, groups = -(-len(images) // 2), 1 + len(views)
    width, height = groups * 2 * PANEL + (groups - 1) * GAP + 2 * EDGE, lines * PANEL + HEAD + EDGE
    figure = matplotlib.figure.Figure(figsize=(width, height))
    for row, image in enumerate(images):
        line, side = divmod(row, 2)
        for group in range(groups):
            left = EDGE + group * (2 * PANEL + GAP) + side * PANEL
            bottom = EDGE + (lines - 1 - line) * PANEL
            axis = figure.add_axes((left / width, bottom / height, 0.96 * PANEL / width, 0.96 * PANEL / height))
            axis.set_axis_off()
            if group:
                axis.imshow(views[group - 1, row], interpolation="nearest")
                _box(axis, (0.0, 0.0, 1.0, 1.0), _colour(group - 1))
            else:
                axis.imshow(image, interpolation="nearest")
                for view, box in enumerate(boxes[:, row]):
                    _box(axis, box, _colour(view))
    for group in range(groups):
        centre = (EDGE + group * (2 * PANEL + GAP) + 0.98 * PANEL) / width
        name = f"view {group} of both" if group else ("partners" if partners else "images")
        colour = _colour(group - 1) if group else "black"
        place = (EDGE + lines * PANEL + 0.04) / height
        figure.text(centre, place, name, ha="center", va="bottom", fontsize=10, color=colour)
    figure.text(0.5, 1 - EDGE / height, title, ha="center", va="top", fontsize=10, parse_math=False)
    return figure


def _colour(view: int) -> str:
    return COLOURS[view % len(COLOURS)]


def _box(axis: Axes, box: tuple[float, float, float, float] | NDArray[np.floating], colour: str) -> None:
    """Outline a box given in fractions of the axis, from its top left corner."""
    top, left, height, width = box
    for line, shade in ((3.4, "white"), (1.8, colour)):
        axis.add_patch(
            matplotlib.patches.Rectangle(
                (left, 1 - top - height), width, height, transform=axis.transAxes, fill=False, lw=line, ec=shade
            )
        )
