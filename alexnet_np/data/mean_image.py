"""The mean image that is subtracted from images: from a .npy file, or carried as text with a file of weights."""

import base64
import binascii
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import numpy as np

MAX_SIDE = 1024  # pixels: 12 MB


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


@lru_cache(maxsize=4)
def read(path: str, side: int) -> np.ndarray:
    """The (side, side, 3) float32 of a .npy file. FileNotFoundError, or ValueError where it is something else."""
    try:
        with open(path, "rb") as file:
            is_archive = file.read(2) == b"PK"  # of zip; NumPy leaves a damaged one open
        mean = (
            None if is_archive else np.load(path, allow_pickle=False, mmap_mode="r")
        )  # it is not read before its shape is known
    except FileNotFoundError as error:
        raise FileNotFoundError(f"mean_image: there is no file {path}") from error
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"mean_image: {path} cannot be read as .npy ({error})") from error
    if mean is None or mean.shape != (side, side, 3):
        got = "a .npz" if mean is None else mean.shape
        raise ValueError(f"mean_image: expected ({side}, {side}, 3) in {path}, got {got}")
    return finite(path, np.array(mean))


def finite(where: str, mean: Any) -> np.ndarray:
    if mean.dtype.kind not in "fiu" or not np.isfinite(mean).all():
        raise ValueError(f"mean_image: expected finite numbers from 0 to 255 in {where}, got {mean.dtype} or NaN")
    return mean.astype(np.float32, copy=False)
