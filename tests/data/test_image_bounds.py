"""What an image may take: the estimate from its header is compared with the memory that decoding really takes."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alexnet_np.data import PictureError, geometry, images

SIDE = 2400  # pixels: 17 MB as RGB, more than all that does not grow with the image

# Run in a process of its own: one line for each kind, with bytes of memory at most and those of the estimate.
MEASURE = """
import ctypes, gc, io, sys
from PIL import Image
from alexnet_np.data import images
from test_image_bounds import SIDE, kinds

def memory(name):
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines[name].split()[0]) * 1024

images.decode(next(kinds(50))[1], "first")
for name, content in kinds(SIDE):
    with images._opened(content) as image:
        estimate = image.width * image.height * images._bytes_per_pixel(image, content)
    del image
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    open("/proc/self/clear_refs", "w").write("5")
    before = memory("VmRSS")
    images.decode(content, name)
    print(name, memory("VmHWM") - before, int(estimate), sep="|", flush=True)
"""


def kinds(side):
    """A name and the content of a file, for every way in which pixels are stored."""
    level = Image.fromarray(np.arange(side * side, dtype=np.uint32).reshape(side, side).astype(np.uint8))
    colour, deep = Image.merge("RGB", (level, level, level)), Image.fromarray(np.asarray(level).astype(np.uint16) << 8)
    palette = level.convert("P")
    turned = Image.Exif()
    turned[images.ORIENTATION] = 6

    def encoded(image, suffix, **options):
        content = io.BytesIO()
        image.save(content, suffix, **options)
        return content.getvalue()

    yield "PNG, palette with transparency", encoded(palette, "png", transparency=1, compress_level=1)
    yield "PNG, 16 bits with transparency", encoded(deep, "png", transparency=0, compress_level=1)
    yield "PNG, grey", encoded(level, "png", compress_level=1)
    for mode in ("RGB", "RGBA", "LA"):
        yield f"PNG, {mode}", encoded(colour.convert(mode), "png", compress_level=1)
    for mode in ("RGB", "CMYK", "L"):
        yield f"JPEG, {mode}", encoded(colour.convert(mode), "jpeg")
        yield f"JPEG, progressive, {mode}", encoded(colour.convert(mode), "jpeg", progressive=True)
    yield "JPEG, progressive, 4:4:4", encoded(colour, "jpeg", progressive=True, subsampling=0)
    yield "JPEG, turned", encoded(colour, "jpeg", exif=turned)
    for compression in ("raw", "tiff_lzw", "jpeg"):
        yield f"TIFF, {compression}", encoded(colour, "tiff", compression=compression)
    yield "TIFF, RGBA in one strip", encoded(colour.convert("RGBA"), "tiff", compression="tiff_lzw", strip_size=1 << 30)
    yield "TIFF, 16 bits", encoded(deep, "tiff", compression="tiff_lzw")
    yield "TIFF, 1 bit", encoded(level.convert("1"), "tiff", compression="group4")
    yield "GIF", encoded(palette, "gif", transparency=1)
    yield "BMP", encoded(colour, "bmp")
    yield "PPM", encoded(colour, "ppm")
    yield "WebP, lossless", encoded(colour, "webp", lossless=True, method=0, quality=0)
    yield "WebP, transparent", encoded(colour.convert("RGBA"), "webp", method=0)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux measures a peak of memory twice")
def test_decoding_takes_no_more_than_the_estimate():
    result = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, cwd=Path(__file__).parent, check=True
    )
    lines = [line.split("|") for line in result.stdout.splitlines()]
    assert len(lines) == len(list(kinds(8)))
    slack = 8_000_000  # bytes: a strip in all its forms, and what C's heap keeps
    over = {name: (int(peak), int(estimate)) for name, peak, estimate in lines if int(peak) > int(estimate) + slack}
    assert over == {}


def header_of(content, monkeypatch):
    """Decode without the decoder: what is beyond the bounds must be refused before it."""

    def load(self):
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    return images.decode(content, "large")


def with_size(content, width, height):
    """The same PNG with another size in its header: the pixels are missing then."""
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


@pytest.mark.parametrize(
    ("mode", "width", "height", "fits"),
    [
        ("RGB", 11_648, 8_736, True),  # a camera of 102 megapixels
        ("RGBA", 11_648, 8_736, True),
        ("RGB", 12_000, 12_000, False),
        ("P", 13_300, 13_300, True),
        ("L", 20_000, 20_000, False),
    ],
)
def test_the_bound_is_on_memory(mode, width, height, fits, monkeypatch):
    content = io.BytesIO()
    Image.new(mode, (8, 8)).save(content, "png")
    with pytest.raises(PictureError, match="it was decoded" if fits else r"would take 1\.0 GB|exceeds limit"):
        header_of(with_size(content.getvalue(), width, height), monkeypatch)


@pytest.mark.parametrize(
    "content",
    [
        b"P3 2000 2000 255\n" + b"1 " * 99,
        b"P6 2000 2000 254\n" + bytes(99),
        b"P5 2500 2500 4095\n" + bytes(99),
    ],
)
def test_what_pillow_decodes_in_python_has_a_bound(content, monkeypatch):
    with pytest.raises(PictureError, match="values in a slow encoding, expected at most 6,000,000: save it as PNG"):
        header_of(content, monkeypatch)
    small = content.replace(b"2000 2000", b"3 3").replace(b"2500 2500", b"3 3")
    monkeypatch.undo()
    assert images.decode(small, "small").shape == (3, 3, 3)


def test_a_progressive_jpeg_has_a_bound_on_its_scans(monkeypatch):
    """Each scan goes through all pixels, and may take a few bytes only."""
    content = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(content, "jpeg", progressive=True)
    whole = content.getvalue()
    scans = images._scans(whole)
    assert scans == whole.count(b"\xff\xda") > 5
    last = whole[whole.rindex(b"\xff\xda") : -2]
    assert images.decode(whole[:-2] + 5 * last + whole[-2:], "some").shape == (2000, 2000, 3)
    many = whole[:-2] + 700 * last + whole[-2:]
    assert len(many) < 2_000_000
    with pytest.raises(PictureError, match=r"2000x2000 pixels in 7\d\d scans: save it as a baseline JPEG"):
        header_of(many, monkeypatch)


def test_scans_of_a_thumbnail_do_not_count():
    thumbnail, content = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (16, 16)).save(thumbnail, "jpeg", progressive=True)
    Image.new("RGB", (64, 64)).save(content, "jpeg", exif=b"Exif\0\0" + thumbnail.getvalue())
    assert content.getvalue().count(b"\xff\xda") > 1
    assert images._scans(content.getvalue()) == 1


def chunks(name, number):
    return number * (struct.pack(">I", 0) + name + struct.pack(">I", zlib.crc32(name)))


def small(suffix):
    content = io.BytesIO()
    Image.new("RGB", (64, 64)).save(content, suffix)
    return content.getvalue()


PNG, JPEG = small("png"), small("jpeg")
COMMENT, EXIF = b"\xff\xfe\0\2", b"\xff\xe1\xff\xffExif\0\0" + bytes(65_527)


@pytest.mark.parametrize(
    "content",
    [
        PNG[:33] + chunks(b"prVt", 4000) + PNG[33:],
        PNG[:-12] + chunks(b"prVt", 4000) + PNG[-12:],
        PNG[:33] + chunks(b"IDAT", 4000) + PNG[33:],
        JPEG[:2] + 4000 * COMMENT + JPEG[2:],
        JPEG[:2] + 9000 * b"\xff" + JPEG[2:],
    ],
    ids=["PNG, before the pixels", "PNG, after them", "PNG, among them", "JPEG, comments", "JPEG, fill bytes"],
)
def test_a_file_is_read_in_a_bounded_number_of_pieces(content, monkeypatch):
    """Megabytes of empty chunks and markers take minutes of Pillow's parsers, which are written in Python."""
    assert images.decode(content, "many").shape == (64, 64, 3)
    monkeypatch.setattr(images._Content, "pieces", 3000)
    with pytest.raises(PictureError, match="it has more than 2,000,000 pieces: save it anew"):
        images.decode(content, "many")
    for usual in (PNG, JPEG):
        assert images.decode(usual, "usual").shape == (64, 64, 3)


def test_metadata_have_a_bound():
    """Pillow joins EXIF data one segment after the other, and copies each time what it has."""
    some = JPEG[:2] + 100 * EXIF + JPEG[2:]
    assert images.decode(some, "some").shape == (64, 64, 3)
    with pytest.raises(PictureError, match="more than 16,000,000 bytes of metadata before the pixels: save it anew"):
        images.decode(JPEG[:2] + 250 * EXIF + JPEG[2:], "much")


def test_pixels_are_no_metadata():
    noise = Image.frombytes("L", (4200, 4200), np.random.default_rng(0).bytes(4200 * 4200))
    for suffix, options in (("tiff", {}), ("webp", {"lossless": True, "method": 0, "quality": 0}), ("bmp", {})):
        content = io.BytesIO()
        noise.save(content, suffix, **options)
        assert len(content.getvalue()) > images.MAX_HEADER
        assert images.decode(content.getvalue(), suffix).shape == (4200, 4200, 3)


def test_a_jpeg_has_a_bound_on_its_markers():
    with pytest.raises(PictureError, match="it has more than 100,000 markers: save it anew"):
        images.decode(JPEG[:-2] + 110_000 * COMMENT + JPEG[-2:], "many")


def test_a_file_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_MEMORY", 5000)
    (tmp_path / "a.png").write_bytes(bytes(5001))
    with pytest.raises(PictureError, match="expected a file of at most 5,000 bytes"):
        images.read(tmp_path / "a.png")
    with pytest.raises(PictureError, match="expected a file of at most 5,000 bytes"):
        images.read("/dev/zero") if Path("/dev/zero").exists() else images.read(tmp_path / "a.png")


def test_a_resized_image_has_a_bound():
    with pytest.raises(ValueError, match="3000x1 pixels are too long and narrow to be resized to 768000x256"):
        geometry.resize(np.zeros((1, 3000, 3), np.uint8), 256)
