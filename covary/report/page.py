"""Sections to one HTML page, all text escaped: by Jinja's autoescape for HTML, by ``private.visible`` for the eye."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from covary.draw.curves import DASHES, PALETTE, Line, curves
from covary.draw.maps import maps
from covary.draw.svg import svg
from covary.private import visible
from covary.report.blocks import Chart, Map, Section
from covary.version import __version__


def page(names: Sequence[str], sections: Sequence[Section], *, made_from: str = "the run folders alone") -> str:
    """Return the page of the runs' names and sections; it loads nothing, and a browser runs nothing that it holds."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("covary.report", package_path="."),
        autoescape=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "png": png}
    styles = [(style, _style(style)) for style in range(len(names))]
    return environment.get_template("page.html").render(
        title=f"covary report: {', '.join(names)}",
        names=names,
        sections=[section for section in sections if section.blocks],
        styles=styles,
        drawn=lambda chart, scheme: drawn(chart, names, scheme),
        mapped=mapped,
        made_from=made_from,
        version=__version__,
    )


def drawn(chart: Chart, names: Sequence[str], scheme: Any, *, title: str | None = None) -> bytes:
    """Return a chart as SVG; with a title it stands alone and names its runs."""
    return svg(curves(lines_of(chart, names), scheme=scheme, title=title, across=chart.across, top=chart.top))


def lines_of(chart: Chart, names: Sequence[str]) -> list[Line]:
    """Return the lines of a chart, each in the style of its run."""
    return [
        Line(label=visible(names[series.run]), style=series.run, steps=series.steps, values=series.values)
        for series in chart.series
    ]


def mapped(one: Map, scheme: Any) -> bytes:
    """Return a map as SVG, without the words that the page has beside it."""
    return svg(maps([one.panel], scheme=scheme, titled=False))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image (h, w, 3) as PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()


def data_uri(content: bytes, kind: str) -> Markup:
    """Return bytes as a ``data:`` address of a media type."""
    return Markup("data:{};base64,{}").format(kind, base64.b64encode(content).decode())


def _style(number: int) -> dict[str, str]:
    """Return the CSS of a run's line: its colour on a light and a dark page, and its dashes."""
    turn, colour = divmod(number, len(PALETTE["light"]))
    return {
        "light": PALETTE["light"][colour],
        "dark": PALETTE["dark"][colour],
        "dashes": DASHES[turn % len(DASHES)],
    }
