import io
import struct
import zlib

import numpy as np
import pytest
from pictures import encoded, picture
from PIL import Image

from covary.data import decode as rules
from covary.data.decode import BACKGROUND, decode


def pixels(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def test_rgb_is_kept() -> None:
    assert np.array_equal(pixels(encoded(picture(0))), np.asarray(picture(0)))


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_goes_to_three_equal_channels(mode: str) -> None:
    image = picture(1).convert(mode)
    found = pixels(encoded(image))
    expected = np.asarray(image).astype(np.uint8) * (255 if mode == "1" else 1)
    assert (found == expected[:, :, None]).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparent_images_lie_on_the_background(mode: str) -> None:
    image = picture(2).convert(mode)
    alpha = np.linspace(0, 255, image.width * image.height).astype(np.uint8).reshape(image.height, image.width)
    image.putalpha(Image.fromarray(alpha))
    colour = np.asarray(image.convert("RGB"), dtype=np.float64)
    a = alpha[:, :, None] / 255
    expected = colour * a + np.array(BACKGROUND) * (1 - a)
    assert np.abs(pixels(encoded(image)) - expected).max() <= 1


def test_palette_without_and_with_transparency() -> None:
    image = picture(3).quantize(8)
    assert np.array_equal(pixels(encoded(image)), np.asarray(image.convert("RGB")))
    found = pixels(encoded(image, transparency=int(np.asarray(image)[0, 0])))
    hidden = np.asarray(image) == np.asarray(image)[0, 0]
    assert (found[hidden] == BACKGROUND).all()
    assert np.array_equal(found[~hidden], np.asarray(image.convert("RGB"))[~hidden])


def test_transparent_colour_of_an_rgb_png() -> None:
    image = Image.new("RGB", (2, 1), (10, 20, 30))
    image.putpixel((1, 0), (1, 2, 3))
    assert pixels(encoded(image, transparency=(1, 2, 3))).tolist() == [[[10, 20, 30], list(BACKGROUND)]]


@pytest.mark.parametrize(("mode", "format"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"), ("YCbCr", "TIFF")])
def test_other_colour_spaces_are_converted_as_pillow_does(mode: str, format: str) -> None:
    data = encoded(picture(4).convert(mode), format)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(pixels(data), np.asarray(image.convert("RGB")))


RAMP = np.array([[0, 128, 129, 257, 32768, 65278, 65535]], dtype=np.uint16)
SCALED = [round(int(value) * 255 / 65535) for value in RAMP[0]]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(format: str) -> None:
    assert pixels(encoded(Image.fromarray(RAMP), format))[0, :, 0].tolist() == SCALED


def test_16_bit_big_endian_tiff() -> None:
    big = Image.frombytes("I;16B", (7, 1), RAMP.astype(">u2").tobytes())
    assert pixels(encoded(big, "TIFF"))[0, :, 0].tolist() == SCALED


def test_16_bit_pgm_is_opened_as_integers_and_scaled() -> None:
    data = b"P5 7 1 65535\n" + RAMP.astype(">u2").tobytes()
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode in ("I", "I;16")
    assert pixels(data)[0, :, 0].tolist() == SCALED


def test_integers_beyond_16_bits_are_stretched() -> None:
    values = np.array([[-1000, 0, 99_000]], dtype=np.int32)
    assert pixels(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, round(2.55), 255]


def test_floats_in_the_unit_interval_and_beyond() -> None:
    unit = np.array([[0, 0.25, 1]], dtype=np.float32)
    assert pixels(encoded(Image.fromarray(unit), "TIFF"))[0, :, 0].tolist() == [0, 64, 255]
    assert pixels(encoded(Image.fromarray(unit * 8 - 4), "TIFF"))[0, :, 0].tolist() == [0, 64, 255]
    assert pixels(encoded(Image.fromarray(np.full((1, 2), 7, np.float32)), "TIFF"))[0, :, 0].tolist() == [0, 0]
    with pytest.raises(ValueError, match="not finite"):
        decode(encoded(Image.fromarray(np.array([[np.nan]], dtype=np.float32)), "TIFF"))


def png16(values: np.ndarray) -> bytes:
    """A 16-bit RGB PNG, which Pillow cannot write. values: uint16 (h, w, 3)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_16_bit_rgb_png_loses_its_low_byte_and_is_not_clipped() -> None:
    values = np.array([[[0, 255, 256], [0x80FF, 0xFF00, 0xFFFF]]], dtype=np.uint16)
    assert np.array_equal(pixels(png16(values)), (values >> 8).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = np.asarray(picture(5, width=9, height=6))
    lying = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(lying)), exif=exif)
    assert np.array_equal(pixels(data), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_passed_over() -> None:
    data = encoded(picture(6), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert pixels(data).shape == (10, 12, 3)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **options)
    with Image.open(io.BytesIO(data)) as image:
        assert getattr(image, "n_frames", 1) == 2
    assert pixels(data)[0, 0].tolist() == [250, 0, 0]


def test_icc_profiles_are_ignored() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert np.array_equal(pixels(encoded(picture(7), icc_profile=profile)), np.asarray(picture(7)))


def test_photographs_with_a_second_image_inside() -> None:
    data = encoded(picture(8), "MPO", save_all=True, append_images=[picture(9)])
    assert np.array_equal(pixels(data), pixels(encoded(picture(8), "JPEG")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        encoded(picture(0))[:60],
        encoded(picture(0, width=64, height=64), "JPEG")[:-200],
        encoded(picture(0), "ICO"),
    ],
    ids=["empty", "text", "cut png", "cut jpeg", "format not listed"],
)
def test_broken_files_raise(data: bytes) -> None:
    with pytest.raises((OSError, ValueError, SyntaxError)):
        decode(data)


@pytest.mark.parametrize("by", [1, 2, 4, 8])
@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG"])
def test_a_jpeg_is_reduced_and_nothing_else_is(by: int, kind: str) -> None:
    image = picture(0, width=201, height=157)
    data = encoded(image, kind, **({"quality": 95} if kind != "PNG" else {}))
    found = np.asarray(decode(data, reduction=lambda width, height: by))
    expected = image if kind == "PNG" else image.crop((0, 0, 201 // by * by, 157 // by * by)).reduce(by)
    assert found.shape[:2] == (expected.height, expected.width)
    assert np.abs(found.astype(int) - np.asarray(expected)).mean() < 1.5


def test_an_oversized_image_is_refused_however_much_it_is_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_PIXELS", 99)
    with pytest.raises(ValueError, match="12 x 10 pixels are more"):
        decode(encoded(picture(0), "JPEG"), reduction=lambda width, height: 8)


def test_planes_are_the_bands() -> None:
    image = picture(3, width=7, height=5)
    assert np.array_equal(np.stack(rules.planes(image)), np.asarray(image).transpose(2, 0, 1))


def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MAX_PIXELS", 119)
    with pytest.raises(ValueError, match="12 x 10 pixels are more than the limit of 119"):
        decode(encoded(picture(0)))
