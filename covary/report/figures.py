"""The page's pictures as SVG files that stand alone: each has a title and names its runs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from covary.draw import tiles
from covary.draw.maps import maps
from covary.draw.svg import svg
from covary.draw.tiles import Tile
from covary.private import visible
from covary.report.blocks import Block, Charts, Maps, Orbit, Queries, Section
from covary.report.page import drawn, lines_of
from covary.rundir import write_atomic

LONGEST = 24  # characters of a name below a tile


def write_figures(names: Sequence[str], sections: Sequence[Section], folder: Path) -> None:
    """Write each picture as an SVG file named after it; of two of one name, the later one has a number."""
    written: dict[str, int] = {}
    for title, content in (each for section in sections for block in section.blocks for each in _figures(names, block)):
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "values"
        written[name] = written.get(name, 0) + 1
        file = f"{name}.svg" if written[name] == 1 else f"{name}-{written[name]}.svg"
        write_atomic(folder / file, content)


def _figures(names: Sequence[str], block: Block) -> Iterator[tuple[str, bytes]]:
    """Yield title and content of each figure of a block."""
    if isinstance(block, Charts):
        for chart in block.charts:
            yield chart.title, drawn(chart, names, "light", title=visible(chart.title))
    elif isinstance(block, Orbit):
        yield "orbit", _orbit(names, block)
    elif isinstance(block, Queries):
        rows = [
            (visible(names[answer.run]), [_shown(tile) for tile in (query.asked, *answer.tiles)])
            for query in block.queries
            for answer in query.answers
        ]
        if rows:
            yield block.title, svg(tiles.grid(rows, title=block.title))
    elif isinstance(block, Maps):
        panels = [replace(each.panel, title=visible(each.panel.title)) for each in block.maps]
        yield block.title, svg(maps(panels))


def _orbit(names: Sequence[str], block: Orbit) -> bytes:
    rows = [
        tiles.Strip(
            title=strip.title,
            tiles=strip.tiles,
            lines=lines_of(strip.chart, names),
            across=strip.chart.across,
        )
        for strip in block.strips
    ]
    tops = [strip.chart.top for strip in block.strips if strip.chart.top is not None]
    return svg(tiles.strips(rows, top=max(tops), title=visible(block.title)))


def _shown(tile: Tile) -> Tile:
    """Return a tile whose words are short, and seen."""
    words = visible(tile.words)
    return replace(tile, words=words if len(words) <= LONGEST else f"{words[: LONGEST - 1]}…")
