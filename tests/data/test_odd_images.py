"""Images whose pixels readers get wrong, files that are no images, and what Pillow remarks."""

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from alexnet_np.data import Arrays, Loader, PictureError, Preparation, images, remarks

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (64, 1))


def encoded(image, suffix, **options):
    content = io.BytesIO()
    image.save(content, suffix, **options)
    return content.getvalue()


def grey(content):
    image = images.decode(content, "odd")
    assert (image[..., 0] == image[..., 1]).all()
    assert (image[..., 0] == image[..., 2]).all()
    return image[..., 0]


def png(rows, bits, colour, transparent=b""):
    """A PNG of ``rows`` of bytes, whose pixels have ``bits`` for each value. ``colour``: 0 is grey, 2 RGB."""
    width = len(rows[0]) * 8 // bits // (3 if colour == 2 else 1)

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    transparency = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + transparency + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def tiff(values, bits, **tags):
    """A grey TIFF of 64x64 values that stand in the file as ``values`` says; little-endian."""
    fields = {256: 64, 257: 64, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: 64, 279: len(values)}
    fields |= {int(tag[1:]): value for tag, value in tags.items()}
    at = 8 + 2 + 12 * len(fields) + 4
    fields[273] = at
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(fields.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4) + values


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_any_depth_shows_white(bits):
    """Value 1 is transparent. Pillow compares it with pixels that it has stretched to 8 bits."""
    values = np.arange(16) % min(2**bits, 8)
    text = "".join(f"{value:0{bits}b}" for value in values)
    row = int(text, 2).to_bytes(len(text) // 8, "big")
    expected = np.where(values == 1, 255, values * 255 // (2**bits - 1))
    np.testing.assert_array_equal(grey(png([row], bits, 0, b"\0\1"))[0], expected)


def test_a_16_bit_grey_keeps_its_range_and_its_transparency():
    values = RAMP.astype(np.uint16) * 257
    values[:32] = 300  # as dark as 256 to 511, of which only this one is transparent
    values[0, 0] = 301
    expected = RAMP.copy()
    expected[:32], expected[0, 0] = 255, 1
    np.testing.assert_array_equal(grey(encoded(Image.fromarray(values), "png", transparency=300)), expected)


def test_a_transparent_16_bit_colour_is_refused():
    """Pillow keeps the upper 8 bits of the pixels and compares them with the lower 8 of the transparent colour."""
    content = png([struct.pack(">3H", 257, 514, 771)], 16, 2, struct.pack(">3H", 257, 514, 771))
    with pytest.raises(PictureError, match="one of its 16-bit colours is transparent"):
        images.decode(content, "odd")
    assert images.decode(png([struct.pack(">3H", 257, 514, 771)], 16, 2), "odd").tolist() == [[[1, 2, 3]]]


def test_a_tiff_of_12_bits_keeps_its_range():
    pairs = (RAMP.astype(np.uint16) * 16).reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    np.testing.assert_array_equal(grey(tiff(packed.astype(np.uint8).tobytes(), 12)), RAMP)


@pytest.mark.parametrize(("meaning", "expected"), [(1, RAMP), (0, 255 - RAMP)])
def test_a_tiff_says_whether_0_is_black(meaning, expected):
    np.testing.assert_array_equal(grey(tiff(RAMP.tobytes(), 8, t262=meaning)), expected)
    np.testing.assert_array_equal(grey(tiff((RAMP.astype("<u2") * 257).tobytes(), 16, t262=meaning)), expected)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(Image.fromarray(RAMP.astype(np.int32)), "tiff"), "signed numbers, whose range no rule fixes"),
        (tiff(RAMP.astype("<u4").tobytes(), 32), "32-bit integers, whose range no rule fixes"),
        (tiff(RAMP.astype("<i2").tobytes(), 16, t339=2), "signed numbers"),
        (tiff(RAMP.tobytes(), 8, t339=2), "signed numbers"),
        (encoded(Image.fromarray(RAMP.astype(np.float32)), "tiff"), "floating-point numbers"),
    ],
)
def test_numbers_without_a_known_range_are_refused(content, reason):
    with pytest.raises(PictureError, match=reason):
        images.decode(content, "odd")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(orientation):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture, "png", exif=exif)
    image = images.decode(content, "turned")
    np.testing.assert_array_equal(image, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    assert image.flags.c_contiguous


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "YCbCr"])
def test_strips_make_no_difference(mode, monkeypatch):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (21, 9, 4), dtype=np.uint8), "RGBA")
    picture = Image.fromarray(RAMP.astype(np.uint16) * 200) if mode == "I;16" else picture.convert("RGB").convert(mode)
    content = encoded(picture, "tiff")
    whole = images.decode(content, "odd")
    monkeypatch.setattr(images, "STRIP", 40)
    np.testing.assert_array_equal(images.decode(content, "odd"), whole)


def test_only_the_formats_that_are_listed_are_opened(monkeypatch):
    """An EPS file is a program, which Pillow hands to Ghostscript."""
    content = encoded(Image.new("RGB", (40, 40)), "eps")
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "EPS"

    def ghostscript(*_, **__):
        raise AssertionError("Ghostscript was called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    with pytest.raises(PictureError, match="is not an image in BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"):
        images.decode(content, "a.png")
    for suffix in ("ico", "tga", "pcx", "dds"):
        with pytest.raises(PictureError, match="is not an image in"):
            images.decode(encoded(Image.new("RGB", (32, 32)), suffix), "a.png")


def test_a_want_of_memory_is_no_fault_of_the_image(monkeypatch, tmp_path):
    """Whoever skipped the image would train on other data than with more memory."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("RGB", (8, 8)), "png"))

    def load(self):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(MemoryError):
        images.read(path)


def test_a_loader_passes_it_on():
    class Large(Arrays):
        def image(self, index):
            raise MemoryError

    dataset = Large(np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1], ["a", "b"])
    for seed in (None, 0):
        with pytest.raises(MemoryError):
            next(Loader(dataset, Preparation.figures(8), 4, seed=seed).batches())


class TestRemarks:
    """Pillow warns of damaged metadata in Python, libtiff of damaged strips in C."""

    @pytest.fixture
    def damaged(self):
        """A TIFF whose last tag claims to hold more than the file."""
        whole = bytearray(tiff(RAMP.tobytes(), 8, t305=0))
        place = whole.index(struct.pack("<HH", 305, 4))
        whole[place : place + 12] = struct.pack("<HHII", 305, 2, 100_000, 8)
        return bytes(whole)

    def test_they_are_heard_and_not_printed(self, damaged, recwarn):
        warnings.simplefilter("error")  # a program may make errors of warnings: the image stays the same
        with remarks.hearing() as heard:
            np.testing.assert_array_equal(grey(damaged), RAMP)
        assert len(heard) == 1
        assert not any(character.isdigit() for kind in heard for character in kind)
        assert len(recwarn) == 0

    def test_each_thread_hears_its_own_and_other_warnings_are_left_alone(self, damaged, recwarn):
        before = list(warnings.filters), warnings.showwarning
        warnings.simplefilter("always")
        heard = {}
        start = threading.Barrier(4)

        def look(number):
            start.wait()
            for _ in range(20):
                with remarks.hearing() as found:
                    images.decode(damaged if number % 2 else encoded(Image.fromarray(RAMP), "png"), "image")
                heard.setdefault(number, []).append(len(found))

        threads = [threading.Thread(target=look, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert heard == {number: [number % 2] * 20 for number in range(4)}
        with Image.open(io.BytesIO(damaged)):  # a user's own
            pass
        warnings.warn("another", stacklevel=1)
        told = [str(warning.message) for warning in recwarn]
        assert (len(told) > 1, told[-1]) == (True, "another")
        assert warnings.showwarning is before[1]

    def test_nothing_comes_to_the_terminal(self, damaged):
        """In a process of its own: what C prints, pytest's own capture could hide."""
        strip = encoded(Image.fromarray(RAMP), "tiff", compression="tiff_deflate")
        cut = bytearray(strip)
        at = strip.index(b"\x78\x9c") + 20
        cut[at : at + 8] = b"\xff" * 8
        program = (
            "import sys\n"
            "from alexnet_np.data import images, remarks\n"
            "for content in (bytes.fromhex(line) for line in sys.stdin):\n"
            "    with remarks.hearing() as heard:\n"
            "        try:\n"
            "            images.decode(content, 'image')\n"
            "        except images.PictureError:\n"
            "            pass\n"
            "    print(sorted(heard))\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", program],
            input=f"{damaged.hex()}\n{bytes(cut).hex()}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        first, second = result.stdout.splitlines()
        assert first != "[]"
        if sys.platform != "win32":  # where Pillow holds libtiff inside itself
            assert (result.stderr, second.startswith("['libtiff: ")) == ("", True)

    def test_a_loader_counts_them_by_image(self, damaged, tmp_path):
        from alexnet_np.data import Files

        (tmp_path / "a.tif").write_bytes(damaged)
        (tmp_path / "b.png").write_bytes(encoded(Image.fromarray(RAMP), "png"))
        dataset = Files([tmp_path / "a.tif", tmp_path / "b.png"], [0, 1], ["a", "b"])
        loader = Loader(dataset, Preparation.figures(8), 2, seed=0)
        for epoch in range(2):
            list(loader.batches(epoch))
        assert list(loader.remarks) == [str(tmp_path / "a.tif")]
        assert list(remarks.counted(loader.remarks.values()).values()) == [1]
