"""The first batch: every image beside its views, partners beside each other."""

import matplotlib.figure
import numpy as np
from numpy.typing import NDArray


def first_batch(
    images: list[NDArray[np.uint8]], views: NDArray[np.floating], *, partners: bool, title: str
) -> matplotlib.figure.Figure:
    """Draw images beside their views.

    images:   b arrays (h, w, 3), as they lie in the store.
    views:    (v, b, s, s, 3) in [0, 1], not normalised.
    partners: rows 2i and 2i+1 share their aligned transformations: they are drawn on one line.
    """
    count, per_line = len(images), 2 if partners else 1
    columns = 1 + views.shape[0]
    lines = count // per_line
    figure = matplotlib.figure.Figure(
        figsize=(1.15 * columns * per_line + 0.5 * (per_line - 1), 1.15 * lines + 1.0), layout="constrained"
    )
    widths = ([1.0] * columns + [0.25]) * per_line
    axes = figure.subplots(lines, len(widths) - 1, squeeze=False, width_ratios=widths[:-1])
    for line in range(lines):
        for side in range(per_line):
            row = line * per_line + side
            place = side * (columns + 1)
            name = f"partner {'ab'[side]}" if partners else "image"
            panels = [(name, images[row])] + [(f"view {v + 1}", view[row]) for v, view in enumerate(views)]
            for offset, (label, panel) in enumerate(panels):
                axis = axes[line, place + offset]
                axis.imshow(panel, interpolation="nearest")
                if line == 0:
                    axis.set_title(label, fontsize=8)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure
