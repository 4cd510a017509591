"""Images with boxes in VOC's layout, drawn: bright rectangles, red or blue, on a dark ground."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = {"red": (230, 40, 40), "blue": (40, 40, 230)}
Draw = Callable[..., Path]


def draw_set(folder: Path, *, train: int = 6, test: int = 3, width: int = 96, height: int = 64) -> Path:
    """Write a set of images with one red and one blue rectangle each, side by side; return its folder."""
    generator = np.random.default_rng(0)
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    (folder / "classes.txt").write_text("red\nblue\n")
    names = {
        "trainval": [f"train{index}" for index in range(train)],
        "test": [f"test{index}" for index in range(test)],
    }
    for split, listed in names.items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(listed) + "\n")
        for name in listed:
            pixels = generator.integers(0, 30, (height, width, 3), dtype=np.uint8)
            objects = []
            for column, colour in enumerate(generator.permutation(list(COLOURS))):
                w, h = generator.integers(20, 32, 2)
                x, y = column * width // 2 + generator.integers(0, width // 2 - w), generator.integers(0, height - h)
                pixels[y : y + h, x : x + w] = COLOURS[colour]
                objects.append((colour, x + 1, y + 1, x + w, y + h))
            Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.png")
            annotate(folder, name, objects)
    return folder


def annotate(folder: Path, name: str, objects: list, *, difficult: int = 0) -> None:
    """Write the annotation of an image: (class, xmin, ymin, xmax, ymax) each, pixels counted from 1."""
    boxes = "".join(
        f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for label, x1, y1, x2, y2 in objects
    )
    (folder / "Annotations" / f"{name}.xml").write_text(f"<annotation>{boxes}</annotation>")


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Six training and three test images of 96 x 64 pixels."""
    return draw_set(tmp_path / "drawn")


@pytest.fixture
def write_annotation() -> Callable[..., None]:
    """See ``annotate``."""
    return annotate


@pytest.fixture
def draw() -> Draw:
    """See ``draw_set``."""
    return draw_set
