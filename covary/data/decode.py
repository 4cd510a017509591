"""From the bytes of an image file to RGB pixels: one rule for every mode, written down in ``docs/data.md``."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile, __version__, features

RULES = 2  # raise it when any rule below changes: stores built under other rules are then not used

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
)
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs: a quarter of a GiB as RGB
CONVERTED = "covary.converted"  # where ``info`` of a decoded image says what was done to make it RGB

_ORIENTATION = 0x0112  # EXIF tag 274
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BLOCK = 1_000_000  # pixels whose values are scaled at once: as floats they take eight times the bytes
_WITH_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def decode(data: bytes, *, reduction: Callable[[int, int], int] = lambda width, height: 1) -> Image.Image:
    """Return the first frame of an image file as RGB, upright.

    reduction: the number, 1, 2, 4 or 8, by which both sides of a JPEG of some width and height are divided while its
               blocks are transformed; rows and columns that are no multiple of it are cut at the bottom and the right.
               Other formats are decoded in full.

    Raises whatever Pillow raises for a broken file, and ValueError for an empty or an oversized one.
    """
    if not data:
        raise ValueError("the file is empty")
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _refuse_oversized(image)
        by = reduction(*image.size)
        size = image.width // by, image.height // by
        reduced = by > 1 and image.draft(None, size) is not None
        return to_rgb(image.crop((0, 0, *size)) if reduced else image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an opened image as RGB, upright; ``docs/data.md`` has the rule of each mode.

    ``info[CONVERTED]`` of what is returned is a tuple of words, such as ("RGBA", "turned by EXIF"), one for each rule
    that was applied; () where the file held the pixels as they are.
    """
    _refuse_oversized(image)
    words = _mode(image)
    orientation = _orientation(image)
    rgb = _colours(image)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
        words += ("turned by EXIF",)
    rgb.info[CONVERTED] = words + (("first of several frames",) if _has_frames(image) else ())
    return rgb


def planes(image: Image.Image) -> tuple[np.ndarray, ...]:
    """Return the red, green and blue of an RGB image, each uint8 (height, width)."""
    shape = image.height, image.width
    return tuple(np.frombuffer(image.tobytes("raw", band), dtype=np.uint8).reshape(shape) for band in image.mode)


def decoder() -> str:
    """Return the versions of what turns bytes into pixels: another one may round otherwise."""
    return f"Pillow {__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}, WebP {features.version('webp')}"


def _refuse_oversized(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than the limit of {MAX_PIXELS:,}")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block is no reason to lose the image
        return 1


def _mode(image: Image.Image) -> tuple[str, ...]:
    """Return the name of a mode that is not plain 8-bit RGB, as a tuple of none or one."""
    if image.mode != "RGB":
        return (image.mode,)
    if "transparency" in image.info:
        return ("RGB with a transparent colour",)
    deep = isinstance(image, ImageFile.ImageFile) and any(";16" in str(tile.args) for tile in image.tile)
    return ("RGB of 16 bits",) if deep else ()


def _has_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame is no reason to lose the first
        return False


def _colours(image: Image.Image) -> Image.Image:
    if image.mode in _SCALED:
        return Image.fromarray(_SCALED[image.mode](np.asarray(image))).convert("RGB")
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (*BACKGROUND, 255)), rgba).convert("RGB")
    return image.convert("RGB")


def _from_16_bits(values: np.ndarray) -> np.ndarray:
    return _by_blocks(values, lambda part: (part.astype(np.int64) * 255 + 32767) // 65535)


def _from_integers(values: np.ndarray) -> np.ndarray:
    if values.min() >= 0 and values.max() <= 65535:
        return _from_16_bits(values)
    return _stretched(values)


def _from_floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ValueError("the image holds values that are not finite")
    if values.min() >= 0 and values.max() <= 1:
        return _by_blocks(values, lambda part: np.rint(part.astype(np.float64) * 255))
    return _stretched(values)


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    scale = 255 / ((high - low) or 1.0)
    return _by_blocks(values, lambda part: np.rint((part.astype(np.float64) - low) * scale))


def _by_blocks(values: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return values scaled to uint8, so many of them at a time."""
    result = np.empty(values.shape, dtype=np.uint8)
    flat, out = values.reshape(-1), result.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        out[start : start + _BLOCK] = scaled(flat[start : start + _BLOCK])
    return result


_SCALED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "I;16": _from_16_bits,
    "I;16B": _from_16_bits,
    "I;16L": _from_16_bits,
    "I;16N": _from_16_bits,
    "I": _from_integers,
    "F": _from_floats,
}
