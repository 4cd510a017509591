"""B3: every mode that an image file can have becomes the RGB that is written here as a formula, and is counted."""

import struct
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from covary.data import Fit, load
from covary.data.decode import CONVERTED, decode
from reliability.image_bombs import chunk
from reliability.pictures import encoded, picture
from reliability.row import Count, Figure, Row, replaced

Pixels = np.ndarray  # float (height, width, 3), from 0 to 255

RGB = np.asarray(picture(0))
HEIGHT, WIDTH, _ = RGB.shape
ALPHA = np.linspace(0, 255, HEIGHT * WIDTH).round().astype(np.uint8).reshape(HEIGHT, WIDTH)
DEEP = np.linspace(0, 65_535, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
WHITE = 255.0
FRAMES = "first of several frames"
TURNED = "turned by EXIF"
TURNS: dict[int, Callable[[Pixels], Pixels]] = {  # EXIF's table: where the stored rows and columns belong
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}


@dataclass(frozen=True)
class Case:
    """A file, the mode in which Pillow opens it, the RGB it must become, and the words it must be counted under."""

    name: str
    content: bytes
    mode: str
    expected: Pixels
    words: tuple[str, ...]


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Read a folder with one file of each case into a store; compare pixels and counts."""
    chosen, count, worst, errors = cases()[:trials], Count(), 0.0, []
    data = folder / "data"
    data.mkdir()
    for case in chosen:
        (data / case.name).write_bytes(case.content)
    store = load(str(data), split="train", fit=Fit.train(32), cache=folder / "cache")
    rows = {name: row for row, name in enumerate(store.names)}
    counted = store.converted == Counter(word for case in chosen for word in case.words)
    for case in chosen:
        with Image.open(data / case.name) as image:
            fired = image.mode == case.mode
        if case.name not in rows:
            count.add(case.name, held=False, fired=fired, seen=dict(store.skipped).get(case.name))
            continue
        found = store.images([rows[case.name]])[0][0].permute(1, 2, 0).numpy().astype(np.float64)
        words = decode(case.content).info[CONVERTED]
        difference = np.abs(found - case.expected) if found.shape == case.expected.shape else np.array([np.inf])
        off = float(difference.max())
        worst = max(worst, off)
        if "16" in case.name:
            errors.append(difference.mean())
        count.add(
            case.name,
            held=off <= 1 and words == case.words and counted,
            fired=fired,
            seen=f"off by {off:.1f}, counted as {words} for {case.words}, in all {dict(store.converted)}",
        )
    return count.figure(largest_error=round(worst, 2), mean_error_16_bit=round(float(np.mean(errors)), 2))


def cases() -> list[Case]:
    """Return every case."""
    return [*grey(), *transparent(), *deep(), *other_colours(), *oriented(), *of_frames()]


def grey() -> list[Case]:
    """8-bit grey, black and white, a palette."""
    levels = np.asarray(picture(0).convert("L"))
    bits = Image.fromarray(levels).convert("1", dither=Image.Dither.NONE)
    palette = picture(0).quantize(8)
    colours = np.array(palette.getpalette()).reshape(-1, 3)[np.asarray(palette)]
    return [
        Case("L.png", encoded(Image.fromarray(levels)), "L", thrice(levels), ("L",)),
        Case("L.bmp", encoded(Image.fromarray(levels), "BMP"), "L", thrice(levels), ("L",)),
        Case("1.png", encoded(bits), "1", thrice(255.0 * (levels > 127)), ("1",)),
        Case("P.png", encoded(palette), "P", colours.astype(float), ("P",)),
        Case("RGB.png", encoded(picture(0)), "RGB", RGB.astype(float), ()),
        Case("profile.png", encoded(picture(0), icc_profile=PROFILE), "RGB", RGB.astype(float), ()),
    ]


def transparent() -> list[Case]:
    """Whatever has alpha lies on white: c a + 255 (1 - a)."""
    levels = np.asarray(picture(0).convert("L"))
    rgba = Image.fromarray(np.dstack([RGB, ALPHA]))
    la = Image.merge("LA", [Image.fromarray(levels), Image.fromarray(ALPHA)])
    palette = picture(0).quantize(8)
    index = np.asarray(palette)
    colours = np.array(palette.getpalette()).reshape(-1, 3)[index]
    alphas = bytes(range(0, 256, 32))
    shown = np.frombuffer(alphas, dtype=np.uint8)[index]
    one = tuple(int(value) for value in RGB[3, 5])
    hidden = np.where((np.array(one) == RGB).all(axis=2), 0, 255)
    return [
        Case("RGBA.png", encoded(rgba), "RGBA", on_white(RGB, ALPHA), ("RGBA",)),
        Case("RGBA.webp", encoded(rgba, "WEBP", lossless=True, exact=True), "RGBA", on_white(RGB, ALPHA), ("RGBA",)),
        Case("LA.png", encoded(la), "LA", on_white(thrice(levels), ALPHA), ("LA",)),
        Case("P-alpha.png", encoded(palette, transparency=alphas), "P", on_white(colours, shown), ("P",)),
        Case(
            "RGB-colour.png",
            encoded(picture(0), transparency=one),
            "RGB",
            on_white(RGB, hidden),
            ("RGB with a transparent colour",),
        ),
    ]


def deep() -> list[Case]:
    """16 bits are scaled by 255 / 65535; 32 bits and floats as far as they reach."""
    scaled = thrice(DEEP * (255 / 65_535))
    big = Image.frombytes("I;16B", (WIDTH, HEIGHT), DEEP.astype(">u2").tobytes())
    wide = DEEP.astype(np.int32) * 3 - 1000
    unit = (DEEP / 65_535).astype(np.float32)
    stretched = thrice((wide - wide.min()) * (255 / (wide.max() - wide.min())))
    pgm = f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + DEEP.astype(">u2").tobytes()
    return [
        Case("I16.png", encoded(Image.fromarray(DEEP)), "I;16", scaled, ("I;16",)),
        Case("I16.tif", encoded(Image.fromarray(DEEP), "TIFF"), "I;16", scaled, ("I;16",)),
        Case("I16-big.tif", encoded(big, "TIFF"), "I;16B", scaled, ("I;16B",)),
        Case("16.pgm", pgm, "I", scaled, ("I",)),
        Case("I.tif", encoded(Image.fromarray(wide), "TIFF"), "I", stretched, ("I",)),
        Case("F.tif", encoded(Image.fromarray(unit), "TIFF"), "F", scaled, ("F",)),
        Case("F-wide.tif", encoded(Image.fromarray(wide.astype(np.float32)), "TIFF"), "F", stretched, ("F",)),
        Case("RGB16.png", rgb_of_16_bits(), "RGB", np.repeat(DEEP[:, :, None] >> 8, 3, axis=2), ("RGB of 16 bits",)),
    ]


def other_colours() -> list[Case]:
    """CMYK as (1 - c)(1 - k); YCbCr by ITU-R BT.601, as in a JPEG file."""
    cmyk = np.dstack([RGB, ALPHA // 2])
    y, cb, cr = np.moveaxis(np.asarray(picture(0).convert("YCbCr")).astype(float), 2, 0)
    rgb = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    return [
        Case(
            "CMYK.tif",
            encoded(Image.fromarray(cmyk, "CMYK"), "TIFF"),
            "CMYK",
            (255.0 - RGB) * (255.0 - cmyk[:, :, 3:]) / 255,
            ("CMYK",),
        ),
        Case(
            "YCbCr.tif",
            encoded(picture(0).convert("YCbCr"), "TIFF"),
            "YCbCr",
            np.dstack(rgb).clip(0, 255),
            ("YCbCr",),
        ),
    ]


def oriented() -> list[Case]:
    """EXIF's eight orientations."""
    found = []
    for orientation, turn in TURNS.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        words = () if orientation == 1 else (TURNED,)
        content = encoded(picture(0), exif=exif)
        found.append(Case(f"exif{orientation}.png", content, "RGB", turn(RGB).astype(float), words))
    return found


def of_frames() -> list[Case]:
    """Of several frames the first."""
    flat = Image.new("RGB", (WIDTH, HEIGHT), (200, 10, 60))
    several = {"save_all": True, "append_images": [picture(1)]}
    colour = np.broadcast_to([200.0, 10.0, 60.0], RGB.shape)
    return [
        Case("frames.gif", encoded(flat, "GIF", **several), "P", colour, ("P", FRAMES)),
        Case("frames.webp", encoded(flat, "WEBP", lossless=True, **several), "RGB", colour, (FRAMES,)),
        Case("frames.png", encoded(flat, "PNG", **several), "RGB", colour, (FRAMES,)),
    ]


def rgb_of_16_bits() -> bytes:
    """A PNG file with three times 16 bits a pixel, which Pillow reads but does not write."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0)
    rows = np.repeat(DEEP[:, :, None], 3, axis=2).astype(">u2")
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def thrice(levels: np.ndarray) -> Pixels:
    """Grey in three equal channels."""
    return np.repeat(levels[:, :, None].astype(float), 3, axis=2)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> Pixels:
    """Colours laid on white."""
    a = alpha[:, :, None] / 255
    return colours * a + WHITE * (1 - a)


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()

ROW = Row(
    id="B3",
    promise="Every mode of an image file becomes the RGB that its written rule says, to 1/255, and is counted",
    trials={"ci": len(cases()), "release": len(cases())},
    check=check,
    mutants={
        "Pillow's convert alone": replaced("covary.data.decode._colours", lambda image: image.convert("RGB")),
        "EXIF is ignored": replaced("covary.data.decode._orientation", lambda image: 1),
    },
    mutant_trials=len(cases()),
)
