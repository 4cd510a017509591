"""A figure as the bytes of an SVG file: letters as outlines, the same bytes for the same figure."""

import io
import warnings

import matplotlib
from matplotlib.figure import Figure


def svg(figure: Figure) -> bytes:
    """Return the figure as SVG on no background; a letter that the font lacks becomes a box."""
    file = io.BytesIO()
    with (
        matplotlib.rc_context({"svg.hashsalt": "covary", "svg.fonttype": "path"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return file.getvalue()
