"""Images from the content of files: (H, W, 3) uint8, within bounds on formats, memory and time.

A file may be anything, whatever its name. So only the formats that are listed here are opened, and what decoding would
take is estimated from the header before anything is decoded.
"""

import os
import re
import stat
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from .remarks import hearing

FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".pgm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Decoding an image takes less than 1 GB and, on a core of 2020, less than 10 s. tests/data/test_image_bounds.py
# measures the first for every kind of image. A photograph of 102 megapixels takes 0.75 GB.
MAX_MEMORY = 900_000_000  # bytes, of the file and of what it becomes
MAX_SCANNED = 2_500_000_000  # pixels times scans of a progressive JPEG
MAX_BY_PYTHON = 6_000_000  # values that Pillow decodes in Python: PPM in text or with an odd range, BMP in runs
BY_PYTHON = frozenset({"ppm", "ppm_plain", "bmp_rle"})  # Pillow's names of these decoders

MAX_PIECES = 2_000_000  # in which Pillow reads a file: each chunk, marker or tag takes some microseconds
MAX_HEADER = 16_000_000  # bytes before the pixels: Pillow makes Python objects of them, and copies some again and again
MAX_MARKERS = 100_000  # in a JPEG file

STRIP = 250_000  # pixels that are converted at a time
JPEGS = ("JPEG", "MPO")  # the second are several JPEGs in a file
MARKER, SCAN, END = re.compile(rb"\xff([\x01-\xcf\xd9-\xfe])"), b"\xda", b"\xd9"  # JPEG's

ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
BITS, WHITE_IS_ZERO, ROWS_PER_STRIP, TILE_WIDTH, TILE_HEIGHT, SAMPLE_FORMAT = 258, 262, 278, 322, 323, 339  # TIFF's

# By the EXIF orientation: a view of an upright image that is laid out as the image is stored.
AS_STORED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


class PictureError(ValueError):
    """An image that cannot be used: ``path`` says which, ``reason`` why."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The image in a file, as ``decode`` gives it. FileNotFoundError, PictureError or MemoryError."""
    return decode(read_bytes(path), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """What a file holds, which may be a pipe. FileNotFoundError, or PictureError also where it is larger than images
    may be.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            size, chunks = found.st_size if stat.S_ISREG(found.st_mode) else 0, []
            while size <= MAX_MEMORY and (chunk := file.read(max(size, 1 << 20))):
                chunks.append(chunk)
                size = sum(map(len, chunks))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise PictureError(path, f"cannot be read ({error.strerror})") from error
    if size > MAX_MEMORY:
        raise PictureError(path, f"expected a file of at most {MAX_MEMORY:,} bytes, got a larger one")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def decode(content: bytes, path: object) -> np.ndarray:
    """The image in the content of a file, upright, in RGB; ``path`` is named where that fails.

    Of an animation the first frame. What is transparent shows white. Of 16 bits the upper 8 stay: the
    range is kept, where Pillow's own conversion would cut off what is brighter than 255.

    Raises PictureError for what cannot be decoded, or only beyond the bounds above. MemoryError is none of the image's
    faults: it is passed on. What Pillow remarks goes to ``remarks.hearing``.
    """
    if not content:
        raise PictureError(path, "the file is empty")
    try:
        with hearing(), _opened(content) as image:
            _check_bounds(image, content)
            raw = _raw_mode(image)
            image.load()
            return _rgb(image, raw)
    except MemoryError:
        raise
    except UnidentifiedImageError as error:
        raise PictureError(path, f"is not an image in {', '.join(FORMATS)}") from error
    except Exception as error:  # damaged files make decoders raise whatever there is: SyntaxError, struct.error, ...
        raise PictureError(path, f"cannot be decoded ({str(error) or type(error).__name__:.300})") from error


class _Content(BytesIO):
    """The content of a file, of which Pillow may read so much and in so many pieces: a small file can have millions."""

    pieces, header = MAX_PIECES, MAX_HEADER  # how much may still be read

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self.pieces -= 1
        if size is not None and size >= 0:  # else it is the whole file: WebP's reader is not written in Python
            self.header -= len(found)
        if self.pieces < 0:
            raise ValueError(f"it has more than {MAX_PIECES:,} pieces: save it anew")
        if self.header < 0:
            raise ValueError(f"it has more than {MAX_HEADER:,} bytes of metadata before the pixels: save it anew")
        return found


def _opened(content: bytes) -> Image.Image:
    file = _Content(content)
    image = Image.open(file, formats=list(FORMATS))
    file.header = MAX_MEMORY  # from here on pixels are read
    return image


def _check_bounds(image: Image.Image, content: bytes) -> None:
    pixels = image.width * image.height
    if (memory := len(content) + pixels * _bytes_per_pixel(image, content)) > MAX_MEMORY:
        raise ValueError(
            f"{image.width}x{image.height} pixels would take {memory / 1e9:.1f} GB, expected at most "
            f"{MAX_MEMORY / 1e9:.1f} GB: make it smaller, or save it as a baseline JPEG"
        )
    if _decoder(image) in BY_PYTHON and (values := pixels * len(image.getbands())) > MAX_BY_PYTHON:
        raise ValueError(f"{values:,} values in a slow encoding, expected at most {MAX_BY_PYTHON:,}: save it as PNG")
    if image.format in JPEGS and pixels * (scans := _scans(content)) > MAX_SCANNED:
        raise ValueError(f"{image.width}x{image.height} pixels in {scans:,} scans: save it as a baseline JPEG")


def _scans(jpeg: bytes) -> int:
    """How often the pixels of the first image in a JPEG file are gone through."""
    at = scans = markers = 0
    while (marker := MARKER.search(jpeg, at)) and marker[1] != END:
        scans += marker[1] == SCAN
        markers += 1
        if markers > MAX_MARKERS:
            raise ValueError(f"it has more than {MAX_MARKERS:,} markers: save it anew")
        at = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return scans


def _bytes_per_pixel(image: Image.Image, content: bytes) -> float:
    """At most, while it is decoded: Pillow's own pixels, and then the decoder's memory or the result."""
    pillows = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    decoders = 0.0
    if _decoder(image) in BY_PYTHON:
        decoders = 2.0 * pillows
    elif image.format == "WEBP":
        decoders = 12  # two canvases and a frame
    elif image.format in JPEGS and _scans(content) > 1:  # it keeps the coefficients, of 2 bytes each
        factors = [(layer[1], layer[2]) for layer in image.layer]  # type: ignore[attr-defined]
        largest = max(h for h, _ in factors) * max(v for _, v in factors)
        decoders = 2 * sum(h * v for h, v in factors) / largest + 1
    elif image.format == "TIFF" and _decoder(image) != "raw":
        tags = image.tag_v2  # type: ignore[attr-defined]
        tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_HEIGHT, 0)
        strip = image.width * min(tags.get(ROWS_PER_STRIP, image.height), image.height)
        share = (tile or strip) / max(1, image.width * image.height)
        decoders = (sum(tags.get(BITS, (8,))) / 8 + 4) * share  # a strip or a tile; and converted
    return pillows + max(decoders, 3)


def _decoder(image: Image.Image) -> str:
    return image.tile[0][0] if getattr(image, "tile", None) else ""  # type: ignore[attr-defined]


def _raw_mode(image: Image.Image) -> str:
    """How pixels stand in a file that is not loaded yet, in Pillow's words: "L;4", "RGB;16B"."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        return str(arguments[0]) if arguments else ""
    return ""


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged EXIF data raise whatever there is, too; the pixels are whole
        return 1


def _rgb(image: Image.Image, raw: str) -> np.ndarray:
    """(H, W, 3), upright: converted in strips and turned at once, for there is no room for a third copy."""
    tags = getattr(image, "tag_v2", {})  # TIFF's
    if 2 in tags.get(SAMPLE_FORMAT, ()):
        raise ValueError("its values are signed numbers, whose range no rule fixes")
    if image.mode == "F":
        raise ValueError("its values are floating-point numbers, whose range no rule fixes")
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # in these Pillow's 32 bits hold 16
        raise ValueError("its values are 32-bit integers, whose range no rule fixes: save it with 8 or 16 bits")
    transparent = image.info.get("transparency")
    if transparent is not None and raw.startswith("RGB;16"):
        raise ValueError("one of its 16-bit colours is transparent, and Pillow tells only 8 bits: save it with 8 bits")
    if isinstance(transparent, int) and raw in ("L;2", "L;4"):  # Pillow makes 8 bits of the pixels, not of this
        image.info["transparency"] = transparent * 255 // (2 ** int(raw[2:]) - 1)
    deep = image.mode.startswith("I")
    bits = tags.get(BITS, (16,))[0]

    W, H = image.size
    orientation = _orientation(image)
    upright = np.empty((W, H, 3) if orientation in (5, 6, 7, 8) else (H, W, 3), np.uint8)
    result = AS_STORED[orientation](upright) if orientation in AS_STORED else upright
    rows = max(1, STRIP // max(1, W))
    for top in range(0, H, rows):
        strip = image if rows >= H else image.crop((0, top, W, min(top + rows, H)))
        if deep:
            values = np.asarray(strip)
            grey = (values >> (bits - 8)).astype(np.uint8)
            if tags.get(WHITE_IS_ZERO) == 0:
                grey = 255 - grey
            if transparent is not None:
                grey[values == transparent] = 255
            result[top : top + rows] = grey[:, :, None]
        else:
            if strip.has_transparency_data:
                strip = strip.convert("RGBA")
                strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
            result[top : top + rows] = np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"))
    return upright


def oddities(content: bytes) -> list[str]:
    """What ``decode`` had to change or to ignore in an image that it can read: "grey", "CMYK", "16 bits", ..."""
    with hearing(), _opened(content) as image:
        found = {
            "grey": image.mode in ("1", "L", "LA"),
            "CMYK": image.mode == "CMYK",
            "16 bits": image.mode.startswith("I"),
            "transparent": image.has_transparency_data,
        }
        try:
            found["turned by EXIF"] = image.getexif().get(ORIENTATION, 1) != 1
        except Exception:  # see _orientation
            found["damaged EXIF data"] = True
        try:
            found["animated"] = _has_second_frame(image)
        except Exception:  # see decode, which reads the first frame only
            found["damaged after the first frame"] = True
    return [name for name, is_so in found.items() if is_so]


def _has_second_frame(image: Image.Image) -> bool:
    """Without going through all of them: a TIFF file may have millions."""
    if image.format not in ("GIF", "TIFF"):
        return getattr(image, "n_frames", 1) > 1
    try:
        image.seek(1)
    except EOFError:
        return False
    return True
