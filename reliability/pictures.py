"""Small image files of every format that covary reads, and what else can lie under an image's name."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

NAMED = {"JPEG": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm"}


def picture(seed: int, *, width: int = 24, height: int = 20) -> Image.Image:
    """An RGB image of smooth random colours."""
    corners = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def folder_of(root: Path, count: int, *, start: int = 0) -> Path:
    """Write images 0.png, 1.png, ... into a folder; every image differs."""
    root.mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        (root / f"{index}.png").write_bytes(encoded(picture(index, width=10, height=9)))
    return root


def variety() -> dict[str, bytes]:
    """Files of every format and of the forms that have code of their own in a decoder, by a name with its ending."""
    frames = [picture(seed) for seed in range(3)]
    animated = {"save_all": True, "append_images": frames[1:]}
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(np.arange(480, dtype=np.uint16).reshape(20, 24) * 136)
    files = {f"plain.{ending}": encoded(frames[0], kind) for kind, ending in NAMED.items()}
    return files | {
        "progressive.jpg": encoded(frames[0], "JPEG", progressive=True),
        "turned.jpg": encoded(frames[0], "JPEG", exif=turned),
        "cmyk.jpg": encoded(frames[0].convert("CMYK"), "JPEG"),
        "frames.gif": encoded(frames[0], "GIF", **animated),
        "frames.webp": encoded(frames[0], "WEBP", **animated),
        "frames.png": encoded(frames[0], "PNG", **animated),
        "palette.png": encoded(frames[0].quantize(16), "PNG"),
        "alpha.png": encoded(frames[0].convert("RGBA"), "PNG"),
        "deep.png": encoded(deep, "PNG"),
        "lzw.tif": encoded(frames[0], "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(frames[0], "TIFF", compression="jpeg"),
        "bits.pbm": encoded(frames[0].convert("1"), "PPM"),
    }
