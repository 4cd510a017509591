"""Small image files for the tests of data."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, *, width: int = 12, height: int = 10) -> Image.Image:
    """An RGB image of smooth random colours."""
    rng = np.random.default_rng(seed)
    corners = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
    return corners.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format=format, **options)
    return file.getvalue()


def write(path: Path, image: Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def class_folders(root: Path, counts: dict[str, int], *, suffix: str = ".png", start: int = 0) -> Path:
    """Write ``counts[name]`` images into each class's folder; every image differs."""
    seed = start
    for name, count in counts.items():
        for index in range(count):
            write(root / name / f"{index}{suffix}", picture(seed))
            seed += 1
    return root
