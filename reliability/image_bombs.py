"""Files that ask for far more memory than they weigh, and files of other formats under an image's name."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from PIL import Image

from covary.data.decode import FORMATS, MAX_PIXELS
from covary.data.stored import MAX_BYTES
from reliability.pictures import encoded, picture

TOO_LARGE = ("exceeds limit", "more than the limit")
DEEP = 60_000  # samples of a pixel
FOREIGN = ("cannot identify image file",)


@dataclass(frozen=True)
class Bomb:
    """A file: its name, how it is written, whether it is one by Pillow's word without limits, what a refusal says."""

    name: str
    write: Callable[[Path], object]
    armed: Callable[[Path], bool]
    says: tuple[str, ...]


def claims_too_much(file: Path) -> bool:
    """Whether the header claims more pixels than are allowed."""
    with patch("PIL.Image.MAX_IMAGE_PIXELS", None), Image.open(file) as image:
        return image.width * image.height > MAX_PIXELS


def is_foreign(file: Path) -> bool:
    """Whether Pillow knows the file as something that is no image format of ours, or the file is a document."""
    start = file.read_bytes()[:16]
    if start.startswith((b"%PDF", b"<svg", b"PK")):
        return True
    with Image.open(file) as image:
        return image.format not in FORMATS


def is_stuffed(file: Path) -> bool:
    """Whether compressed chunks beside the pixels expand a hundredfold."""
    return any(kind in file.read_bytes() for kind in (b"zTXt", b"iCCP", b"iTXt"))


def is_deep(file: Path) -> bool:
    """Whether the header of a TIFF file claims pixels of very many samples."""
    return struct.pack("<HHII", 277, 3, 1, DEEP) in file.read_bytes()


def is_long(file: Path) -> bool:
    """Whether the file itself is larger than any image may be."""
    return file.stat().st_size > MAX_BYTES


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    """An RGB PNG file with a header, other chunks, and compressed pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def black(width: int, height: int) -> bytes:
    """The compressed pixels of a black RGB PNG file, all of them."""
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(height)) + packer.flush()


def bmp(width: int, height: int) -> bytes:
    """The header of an RGB BMP file."""
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def tiff(width: int, height: int, *, samples: int = 3, bits: int = 8) -> bytes:
    """A TIFF file whose one strip holds a few bytes."""
    fields = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 2 if samples > 1 else 1)]
    fields += [(273, 4, 8), (277, 3, samples), (278, 4, height), (279, 4, 8)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(fields)) + entries + bytes(4)


def gif(width: int, height: int, *, screen: int) -> bytes:
    """A GIF file with one frame, of which a few pixels follow."""
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"


def jpeg(width: int, height: int) -> bytes:
    """A JPEG file whose frame header claims another size."""
    content = bytearray(encoded(picture(0), "JPEG"))
    place = content.index(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp(width: int, height: int) -> bytes:
    """A WebP file whose canvas, of the extended format, claims a size."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = encoded(picture(0, width=2, height=2), "WEBP")[12:]
    timing = bytes(6) + (1).to_bytes(3, "little") * 2 + bytes(4)
    parts = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + size + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    parts += b"ANMF" + struct.pack("<I", len(timing) + len(frame)) + timing + frame
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def text(kind: bytes) -> bytes:
    """A chunk of a PNG file that holds ten million characters in ten thousand bytes."""
    packed = zlib.compress(bytes(10_000_000), 9)
    return chunk(kind, (b"a\0\1\0\0\0" if kind == b"iTXt" else b"a\0\0") + packed)


def sparse(file: Path) -> None:
    """Write a file of twenty thousand million bytes that takes no room on the disk."""
    file.touch()
    with file.open("r+b") as opened:
        opened.write(png(8, 8))
        opened.truncate(20 * 10**9)


def of(content: Callable[[], bytes]) -> Callable[[Path], object]:
    """Return what writes these bytes into a file."""
    return lambda file: file.write_bytes(content())


PSD = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 20, 20, 8, 3) + bytes(14)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>'

BOMBS = [
    Bomb("12000x12000.png", of(lambda: png(12_000, 12_000, pixels=black(12_000, 12_000))), claims_too_much, TOO_LARGE),
    Bomb("postscript.png", of(lambda: EPS), is_foreign, FOREIGN),
    Bomb("long.png", sparse, is_long, TOO_LARGE),
    Bomb("20000x20000.png", of(lambda: png(20_000, 20_000)), claims_too_much, TOO_LARGE),
    Bomb("2147483647x1.png", of(lambda: png(2**31 - 1, 1)), claims_too_much, TOO_LARGE),
    Bomb("1x2147483647.png", of(lambda: png(1, 2**31 - 1)), claims_too_much, TOO_LARGE),
    Bomb("20000x20000.bmp", of(lambda: bmp(20_000, 20_000)), claims_too_much, TOO_LARGE),
    Bomb("1x2147483647.bmp", of(lambda: bmp(1, 2**31 - 1)), claims_too_much, TOO_LARGE),
    Bomb("screen.gif", of(lambda: gif(2, 2, screen=65_535)), claims_too_much, TOO_LARGE),
    Bomb("frame.gif", of(lambda: gif(65_535, 65_535, screen=8)), claims_too_much, TOO_LARGE),
    Bomb("20000x20000.tif", of(lambda: tiff(20_000, 20_000)), claims_too_much, TOO_LARGE),
    Bomb("deep.tif", of(lambda: tiff(9_000, 9_000, samples=DEEP)), is_deep, ("cannot",)),
    Bomb("20000x20000.ppm", of(lambda: b"P6 20000 20000 255\n" + bytes(99)), claims_too_much, TOO_LARGE),
    Bomb("65500x65500.jpg", of(lambda: jpeg(65_500, 65_500)), claims_too_much, TOO_LARGE),
    Bomb("16383x16383.webp", of(lambda: webp(16_383, 16_383)), claims_too_much, TOO_LARGE),
    Bomb("photoshop.png", of(lambda: PSD), is_foreign, FOREIGN),
    Bomb("document.png", of(lambda: encoded(picture(0), "PDF")), is_foreign, FOREIGN),
    Bomb("drawing.png", of(lambda: SVG), is_foreign, FOREIGN),
    Bomb("text.png", of(lambda: png(8, 8, *100 * [text(b"zTXt")])), is_stuffed, ("too large",)),
    Bomb("profile.png", of(lambda: png(8, 8, *100 * [text(b"iCCP")])), is_stuffed, ("too large",)),
]
