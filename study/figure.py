"""The figure of a study: a panel for each column, a line for each row, a dot for each seed."""

import io
import statistics
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.figure

from study.measure import UNTRAINED
from study.paired import Column, Kept, values_of

INK, DOT, MEAN = "#30363d", "#6b8fb3", "#b3261e"


def dots(kept: Sequence[Kept], columns: Mapping[str, Column], *, title: str) -> str:
    """Return an SVG: every run as a dot, the mean of a row as a bar, the untrained encoder as a dashed line."""
    rows = [row for row in dict.fromkeys(each["row"] for each in kept) if row != UNTRAINED]
    shown = [column for column in columns.values() if any(values_of(kept, row, column.metric) for row in rows)]
    figure = matplotlib.figure.Figure(figsize=(2.9 * len(shown) + 1, 0.32 * len(rows) + 1.3), layout="constrained")
    figure.suptitle(title, fontsize=11, color=INK)
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, shown, strict=True):
        scale = 100 if column.percent else 1
        for place, row in enumerate(rows):
            values = [scale * value for value in values_of(kept, row, column.metric).values()]
            axis.plot(values, [place] * len(values), "o", color=DOT, markersize=4, alpha=0.85)
            if len(values) > 1:
                axis.plot([statistics.fmean(values)], [place], "|", color=MEAN, markersize=13, markeredgewidth=2)
        for value in values_of(kept, UNTRAINED, column.metric).values():
            axis.axvline(scale * value, color=INK, linestyle=":", linewidth=1)
        axis.set_title(
            f"{column.name}{', %' if column.percent else ''}\n{'less' if column.low else 'more'} is better",
            fontsize=8.5,
        )
        axis.tick_params(labelsize=8)
        axis.grid(axis="y", linewidth=0.4, alpha=0.5)
        axis.set_yticks(range(len(rows)), rows)
    axes[0].invert_yaxis()
    with matplotlib.rc_context({"svg.hashsalt": "covary", "svg.fonttype": "none"}):
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()
