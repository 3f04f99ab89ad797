"""The IDX format of MNIST and its successors (http://yann.lecun.com/exdb/mnist), and folders of such files.

2 bytes 0 | 1 byte type | 1 byte number of axes | a big-endian uint32 for each axis | the values

Of the format's types only 8, unsigned bytes, is read: pictures and labels are of no other.
"""

import gzip
import os
import re
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..reading import ordinary_size
from .dataset import Arrays, DataError, class_names

NAME = re.compile(r"(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
START, GZIP = b"\0\0\x08", b"\x1f\x8b"
MAX_AXES = 4  # images (N, H, W) or (N, H, W, 3), labels (N,)
MAX_BYTES = 600_000_000  # of an array; the largest of EMNIST's has 547 million


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The uint8 array in an IDX file, gzip-compressed or plain.

    Raises OSError where it cannot be read, ValueError where it is none, or not whole, or larger than MAX_BYTES.
    """
    ordinary_size(path)
    with open(path, "rb") as file:
        compressed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not compressed:
            return _read(path, file)
        try:
            with gzip.open(file) as unpacked:
                return _read(path, unpacked)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the compressed file is damaged or cut short ({error})") from error


def _read(path: str | os.PathLike[str], file: BinaryIO | gzip.GzipFile) -> np.ndarray:
    """The header says how much is to come: no more is unpacked, whatever the file may hold."""
    start = file.read(4)
    if len(start) < 4 or not start.startswith(START):
        raise ValueError(f"{path}: is not an IDX file of unsigned bytes (expected {START!r} first, got {start[:3]!r})")
    axes = start[3]
    if not 1 <= axes <= MAX_AXES:
        raise ValueError(f"{path}: expected 1 to {MAX_AXES} axes, got {axes}")
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise ValueError(f"{path}: its header is cut short")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    number = prod(shape)
    if number > MAX_BYTES:
        raise ValueError(f"{path}: expected at most {MAX_BYTES:,} bytes, got an array of shape {shape}")
    content = file.read(number)
    if len(content) < number or file.read(1):
        got = len(content) if len(content) < number else "more"
        raise ValueError(f"{path}: expected {number:,} bytes for an array of shape {shape}, got {got}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def parts(folder: Path) -> tuple[Arrays, Arrays | None] | None:
    """The training set, and the test set where there is one; None in a folder without IDX files. DataError."""
    matches = ((NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    files = {(match["part"], match["kind"]): path for match, path in matches if match}
    if not files:
        return None
    train = _part(folder, files, "train", class_names(folder))
    if train is None:
        raise DataError(f"{folder}: expected train-images and train-labels among its IDX files, found neither")
    return train, _part(folder, files, "t10k", train.classes) or _part(folder, files, "test", train.classes)


def _part(
    folder: Path, files: dict[tuple[str, str], Path], part: str, classes: Sequence[str] | None = None
) -> Arrays | None:
    """The images and labels of a part; None where there are neither. Classes without names are numbers, from 0."""
    paths = [files[part, kind] for kind in ("images", "labels") if (part, kind) in files]
    if not paths:
        return None
    if len(paths) == 1:
        raise DataError(f"{folder}: expected {part}-images and {part}-labels, found only {paths[0].name}")
    try:
        images, labels = (read(path) for path in paths)
    except ValueError as error:
        raise DataError(str(error)) from error
    if labels.ndim != 1 or labels.size == 0:
        raise DataError(f"{paths[1]}: expected labels (N,), got {labels.shape}")
    if 0 in images.shape:
        raise DataError(f"{paths[0]}: expected images of at least one pixel, got {images.shape}")
    try:
        return Arrays(images, labels, classes or [str(label) for label in range(int(labels.max()) + 1)])
    except DataError as error:
        raise DataError(f"{folder}, {part}: {error}") from error
