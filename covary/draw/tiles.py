"""Small images in rows: views of an image along parameters beside their curves, and images beside their neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from covary.draw.curves import INK, PALETTE, Line, draw_lines, name_lines

TILE, CURVE = 0.72, 3.0  # inches: side of an image, width of a curve


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A small image: pixels uint8 (h, w, 3), two lines below it, and whether it has a frame, whole or dashed."""

    pixels: NDArray[np.uint8]
    words: str = ""
    note: str = ""
    framed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Views along a parameter, and lines over it."""

    title: str
    tiles: Sequence[Tile]
    lines: Sequence[Line]
    across: str


def strips(rows: Sequence[Strip], *, top: float, title: str) -> Figure:
    """Draw each strip's tiles with its curves beside them, values from 0 to ``top``."""
    longest = max(len(row.tiles) for row in rows)
    figure = Figure(figsize=(TILE * longest + CURVE, 1.75 * len(rows) + 0.4), layout="constrained")
    grid = figure.add_gridspec(len(rows), longest + 1, width_ratios=[TILE] * longest + [CURVE])
    for line, row in enumerate(rows):
        for place, tile in enumerate(row.tiles):
            axes = figure.add_subplot(grid[line, place])
            _show(axes, tile)
            if not place:
                axes.set_title(row.title, fontsize=9, loc="left", color=INK["light"], parse_math=False)
        axes = figure.add_subplot(grid[line, longest])
        draw_lines(axes, row.lines, scheme="light", across=row.across, top=top)
        if not line:
            name_lines(axes, scheme="light")
    figure.suptitle(title, fontsize=10, color=INK["light"], parse_math=False)
    return figure


def grid(rows: Sequence[tuple[str, Sequence[Tile]]], *, title: str) -> Figure:
    """Draw rows of tiles, each with its name on the left; a first tile stands for what the others are of."""
    longest = max(len(tiles) for _, tiles in rows)
    figure = Figure(figsize=(1.35 * TILE * longest + 1, 1.55 * TILE * len(rows) + 0.4), layout="constrained")
    places = figure.add_gridspec(len(rows), longest)
    for line, (name, tiles) in enumerate(rows):
        for place, tile in enumerate(tiles):
            axes = figure.add_subplot(places[line, place])
            _show(axes, tile)
            if not place:
                axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center", parse_math=False)
    figure.suptitle(title, fontsize=10, color=INK["light"], parse_math=False)
    return figure


def _show(axes: Axes, tile: Tile) -> None:
    """Draw an image as it is: an SVG file holds its own pixels."""
    axes.imshow(tile.pixels, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    words = "\n".join(filter(None, (tile.words, tile.note)))
    axes.set_xlabel(words, fontsize=7, color=INK["light"], labelpad=2, parse_math=False)
    axes.spines[:].set_visible(tile.framed is not None)
    if tile.framed is not None:
        axes.spines[:].set(
            linestyle="solid" if tile.framed else (0, (2, 2)),
            linewidth=1.8,
            color=PALETTE["light"][2] if tile.framed else PALETTE["light"][1],
        )
