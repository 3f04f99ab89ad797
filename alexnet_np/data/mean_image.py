"""The mean image that is subtracted from images: from a .npy file, or carried as text with a file of weights."""

import base64
import binascii
import os
import tokenize
import warnings
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, Self

import numpy as np

from ..reading import ordinary_size

MAX_SIDE = 1024  # pixels: 12 MB
MAX_HEADER = 1000  # bytes of a .npy file's header, which Python's parser reads
MAX_NUMBER = 16  # bytes of a number in it
# What NumPy raises for a header that is none.
DAMAGED = (OSError, ValueError, TypeError, KeyError, SyntaxError, MemoryError, RecursionError, tokenize.TokenError)


@dataclass(frozen=True)
class MeanImage:
    """A mean image that travels as text: ``side`` x ``side`` pixels of red, green, blue, from 0 to 255.

    ``data`` is base64 of zlib of the float32 numbers, little-endian, in the order (side, side, 3):

        np.frombuffer(zlib.decompress(base64.b64decode(data)), "<f4").reshape(side, side, 3)

    ValueError where the text is something else.
    """

    side: int
    data: str = field(repr=False)

    def __post_init__(self) -> None:
        if type(self.side) is not int or not 1 <= self.side <= MAX_SIDE:
            raise ValueError(f"mean_image: side: expected a whole number from 1 to {MAX_SIDE}, got {self.side!r:.200}")
        if not isinstance(self.data, str):
            raise ValueError(f"mean_image: data: expected base64 text, got {type(self.data).__name__}")
        self.pixels()

    @classmethod
    def of(cls, pixels: np.ndarray) -> Self:
        """From an array (side, side, 3)."""
        if pixels.shape[0] > MAX_SIDE:
            raise ValueError(
                f"mean_image: expected a side of at most {MAX_SIDE} pixels, for it is kept with the weights, "
                f"got {pixels.shape[0]}: train with a smaller --size, or without --mean-image"
            )
        packed = zlib.compress(np.ascontiguousarray(pixels, "<f4").tobytes(), 6)
        return cls(len(pixels), base64.b64encode(packed).decode("ascii"))

    def pixels(self) -> np.ndarray:
        """(side, side, 3) float32, read-only."""
        return _unpacked(self.data, self.side)


@lru_cache(maxsize=4)
def _unpacked(text: str, side: int) -> np.ndarray:
    size = side * side * 3 * 4
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(text, validate=True), size + 1)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise ValueError(f"mean_image: data: cannot be unpacked ({error})") from error
    if len(content) != size or not unpacking.eof:
        raise ValueError(f"mean_image: data: expected {size:,} bytes for {side}x{side} pixels, got others")
    return finite("the mean image", np.frombuffer(content, "<f4").astype(np.float32, copy=False).reshape(side, side, 3))


def read(path: str, side: int) -> np.ndarray:
    """The (side, side, 3) float32 of a .npy file. FileNotFoundError, or ValueError where it is something else.

    No more is read than the numbers of such an array, whatever the header says.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"mean_image: there is no file {path}") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"mean_image: {path} cannot be read ({error})") from error
    return _read(path, side, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4)
def _read(path: str, side: int, version: tuple[int, ...]) -> np.ndarray:
    """Read once, for all images; ``version`` tells a file from one that is written in its place."""
    try:
        ordinary_size(path)
        with open(path, "rb") as file:
            shape, columns_first, dtype = _header(file)
            numbers = file.read(3 * side * side * min(dtype.itemsize, MAX_NUMBER) + 1)
    except DAMAGED as error:
        raise ValueError(f"mean_image: {path} cannot be read as .npy ({error})") from error
    if shape != (side, side, 3):
        raise ValueError(f"mean_image: expected ({side}, {side}, 3) in {path}, got {shape!r:.200}")
    if dtype.kind not in "fiu":
        raise ValueError(f"mean_image: expected finite numbers from 0 to 255 in {path}, got {dtype!s:.200}")
    if len(numbers) != 3 * side * side * dtype.itemsize:
        raise ValueError(f"mean_image: {path} cannot be read as .npy (it is cut short, or too long)")
    return finite(path, np.frombuffer(numbers, dtype).reshape(shape, order="F" if columns_first else "C"))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis runs fastest, and dtype. NumPy's own reader would take memory for any shape."""
    if file.read(2) == b"PK":
        raise ValueError("it is a .npz, which holds several arrays: write one with numpy.save")
    file.seek(0)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("expected version 1 or 2 of the format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what Python 2 wrote
        return read_header(file, max_header_size=MAX_HEADER)


def finite(where: str, mean: np.ndarray) -> np.ndarray:
    """The mean image as float32. ValueError where it has NaN, infinity, or what is infinity as float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = mean.astype(np.float32, copy=False)
    if not np.isfinite(mean).all():
        raise ValueError(f"mean_image: expected finite numbers from 0 to 255 in {where}, got NaN or infinity")
    return mean
