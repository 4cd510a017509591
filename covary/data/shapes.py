"""The embedded data: twelve shapes rendered from known factors, at any size, the same on every machine.

An image is a shape over a background, both drawn from twelve classes of one area each, so that neither a colour
histogram nor the share of covered pixels tells the class. With u = (u, v) in [0, 1]^2 the pixel's place, the
background is ``luma + chroma(hue) + gradient + stripes``, the shape ``luma + contrast + chroma(hue)``, blended by the
coverage ``clip(1/2 - S d(u), 0, 1)`` of the signed distance d (``sdf.py``) at S pixels a side, plus grey noise.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch

from covary import keyed
from covary.data import spec as grammar
from covary.data.sdf import SHAPES
from covary.data.source import Content, Record, Source, Split
from covary.errors import InputError, did_you_mean

VERSION = 2  # raise it when an image changes
COUNT = {"train": 10_000, "test": 2_000}
SIZE = 32  # the side of an image where none is asked for
CHUNK = 250  # images rendered at once

CLASSES = tuple(SHAPES)
TURN = 2 * np.pi
CHROMA = 0.1  # amplitude of hue's three cosines around the luma

# Factor: the interval it is uniform on. Lengths are in sides of the image, angles in radians, lumas in [0, 1].
FACTORS: dict[str, tuple[float, float]] = {
    "x": (0.0, 1.0),  # of the shape's centre; brought to where the whole shape is inside the image
    "y": (0.0, 1.0),
    "scale": (0.36, 0.5),  # square root of the shape's area
    "rotation": (-TURN / 12, TURN / 12),
    "hue": (0.0, TURN),
    "contrast": (-0.4, 0.4),  # luma of the shape minus the background's; its magnitude is kept above 0.2
    "background_hue": (0.0, TURN),
    "background_luma": (0.42, 0.58),
    "gradient": (0.0, 0.15),  # change of luma across the image
    "gradient_angle": (0.0, TURN),
    "stripes": (0.0, 0.04),  # amplitude
    "stripes_frequency": (1.0, 6.0),  # periods across the image
    "stripes_angle": (0.0, TURN),
    "stripes_phase": (0.0, TURN),
    "noise": (0.0, 0.04),  # the most a pixel is lighter or darker by
}
# Other label sets of the same images: the factors that tell the class, and into how many bins each is cut.
LABELS: dict[str, dict[str, int]] = {
    "hue": {"hue": 8},
    "background_hue": {"background_hue": 8},
    "contrast": {"contrast": 4},  # darker or lighter, much or little
    "position": {"y": 3, "x": 3},
    "scale": {"scale": 4},
    "rotation": {"rotation": 4},
}
REACH = 0.97  # no shape of area 1 reaches farther from its centroid
LEAST_CONTRAST = 0.2


def factors(*, split: Split, count: int) -> np.ndarray:
    """Return what the first ``count`` images of a split were rendered from: float64 (count, len(FACTORS))."""
    uniform = keyed.uniform(
        seed=0, stream=f"shapes/{split}", epoch=0, position=torch.arange(count), view=0, slots=len(FACTORS)
    )
    low, high = np.array(list(FACTORS.values())).T
    values = low + uniform.numpy().astype(np.float64) * (high - low)
    column = dict(zip(FACTORS, values.T, strict=True))
    margin = REACH * column["scale"]
    for name in ("x", "y"):
        column[name][:] = margin + column[name] * (1 - 2 * margin)
    contrast = column["contrast"]
    contrast[:] = np.sign(contrast) * (
        LEAST_CONTRAST + np.abs(contrast) * (1 - LEAST_CONTRAST / FACTORS["contrast"][1])
    )
    return values


def labels(count: int) -> np.ndarray:
    """Return the classes of the first ``count`` images, int64 (count,): the classes take turns."""
    return np.arange(count) % len(CLASSES)


def factor_classes(name: str) -> tuple[str, ...]:
    """Return the classes of a label set of ``LABELS``: "hue 1 of 8", ..., or "y 1 of 3, x 1 of 3", ..."""
    bins = LABELS[name].items()
    places = product(*(range(count) for _, count in bins))
    return tuple(
        ", ".join(f"{factor} {place + 1} of {count}" for (factor, count), place in zip(bins, found, strict=True))
        for found in places
    )


def factor_labels(name: str, *, split: Split, count: int) -> np.ndarray:
    """Return the labels of the first ``count`` images of a split under a label set of ``LABELS``, int64 (count,).

    A factor's bins have equally many of the 10,000 default training images. With several factors, the last changes
    fastest.
    """
    usual, values = factors(split="train", count=COUNT["train"]), factors(split=split, count=count)
    result = np.zeros(count, dtype=np.int64)
    for factor, bins in LABELS[name].items():
        column = list(FACTORS).index(factor)
        edges = np.quantile(usual[:, column], np.arange(1, bins) / bins)
        result = bins * result + np.searchsorted(edges, values[:, column], side="right")
    return result


def source(spec: str, *, split: Split, size: int) -> Source:
    """Return the source of ``shapes``, rendered at ``size``.

    Options: ``n=20000``, how many train images; ``label=NAME``, a label set of ``LABELS`` in place of the shapes.
    """
    _, chosen = grammar.parse(spec, allowed=("n", "label"))
    train = grammar.positive(spec, "n", chosen["n"]) if "n" in chosen else COUNT["train"]
    count, name = train if split == "train" else COUNT["test"], chosen.get("label")
    if name is not None and name not in LABELS:
        known = ", ".join(LABELS)
        raise InputError(
            f"'label={name}' in the data '{spec}' is unknown; expected {known}.{did_you_mean(name, LABELS)}"
        )

    def content() -> Content:
        classes = CLASSES if name is None else factor_classes(name)
        found = labels(count) if name is None else factor_labels(name, split=split, count=count)
        return Content(count=count, classes=classes, records=_records(split, found, size))

    return Source(
        name=spec,
        identity=f"shapes {VERSION} {split} {count}" + (f" label {name}" if name else ""),
        content=content,
        files=False,
    )


def _records(split: Split, given: np.ndarray, size: int) -> Iterator[Record]:
    """Yield the first images of a split with the labels given."""
    count = len(given)
    values, classes = factors(split=split, count=count), labels(count)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        images = render(values[start:stop], classes[start:stop], _noise(split, start, stop, size), size)
        for row, image in enumerate(images, start):
            yield Record(f"{split}/{row}", lambda image=image, label=int(given[row]): (image, label))


def _noise(split: Split, start: int, stop: int, size: int) -> np.ndarray:
    """Return float64 (stop − start, size, size), uniform on 256 values of [−1, 1]: four of each keyed word's bytes."""
    words = keyed.bits(
        seed=0,
        stream=f"shapes/{split}/noise",
        epoch=0,
        position=torch.arange(start, stop),
        view=0,
        slots=-(-size * size // 4),
    )
    values = words.numpy().astype("<u4").view(np.uint8)[:, : size * size]
    return values.reshape(-1, size, size) / 127.5 - 1


def render(values: np.ndarray, classes: np.ndarray, noise: np.ndarray, size: int) -> np.ndarray:
    """Render images from their factors.

    values (n, len(FACTORS)), classes (n,), noise (n, size, size) in [−1, 1]. Returns uint8 (n, size, size, 3).
    """
    f = {name: column[:, None, None] for name, column in zip(FACTORS, values.T, strict=True)}
    v, u = np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2, indexing="ij")
    coverage = _coverage(f, classes, u, v, size)[..., None]
    along = (u - 0.5) * np.cos(f["gradient_angle"]) + (v - 0.5) * np.sin(f["gradient_angle"])
    across = u * np.cos(f["stripes_angle"]) + v * np.sin(f["stripes_angle"])
    waves = np.sin(TURN * f["stripes_frequency"] * across + f["stripes_phase"])
    luma = f["background_luma"] + f["gradient"] * along + f["stripes"] * waves
    background = luma[..., None] + _chroma(f["background_hue"])
    shape = (f["background_luma"] + f["contrast"])[..., None] + _chroma(f["hue"])
    image = background + coverage * (shape - background) + (f["noise"] * noise)[..., None]
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _chroma(hue: np.ndarray) -> np.ndarray:
    """Return the three channels' distances from the luma: (..., 3), of sum zero."""
    return CHROMA * np.cos(hue[..., None] - np.arange(3) * (TURN / 3))


def _coverage(f: dict[str, np.ndarray], classes: np.ndarray, u: np.ndarray, v: np.ndarray, size: int) -> np.ndarray:
    """Return how much of each pixel the shape covers, (n, size, size)."""
    cos, sin = np.cos(f["rotation"]) / f["scale"], np.sin(f["rotation"]) / f["scale"]
    x, y = u - f["x"], v - f["y"]
    x, y = cos * x + sin * y, cos * y - sin * x
    distance = np.empty_like(x)
    for label, signed_distance in enumerate(SHAPES.values()):
        rows = classes == label
        distance[rows] = signed_distance(x[rows], y[rows])
    return np.clip(0.5 - distance * f["scale"] * size, 0, 1)
