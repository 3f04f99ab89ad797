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
from .dataset import Arrays, DataError, LabelError, Part, class_names
from .folders import is_regular
from .part_names import TRAIN, part_in

NAME = re.compile(r"(?P<part>.+)[-_.](?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
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


def parts(folder: Path) -> dict[str, Part] | None:
    """The parts that there are files of; None in a folder without IDX files.

    The start of a file's name says the part (part_names.py): train, t10k, emnist-letters-test. DataError.
    """
    files: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = NAME.fullmatch(path.name)
        if match is None or path.is_dir():
            continue
        if not is_regular(path):
            raise DataError(f"{path}: expected a file, got a pipe, a device or a broken link")
        part = part_in(match["part"])
        if part is None:
            raise DataError(f"{path}: expected a name that says the part of the data: train, val, t10k or test")
        other = files.setdefault(part, {}).setdefault(match["kind"], path)
        if other is not path and path.name != f"{other.name}.gz":  # of which it is the compressed one
            raise DataError(f"{folder}: expected one file of {part} {match['kind']}, got {other.name} and {path.name}")
    if not files:
        return None
    classes = class_names(folder)
    found: dict[str, Part] = {}
    for part in sorted(files, key=lambda part: part != TRAIN):  # whose classes the others have
        found[part] = _part(folder, part, files[part], classes)
        classes = found[part].dataset.classes
    return found


def _part(folder: Path, part: str, paths: dict[str, Path], classes: Sequence[str] | None = None) -> Part:
    """The images and labels of a part. Classes without names are numbers, from 0."""
    if len(paths) == 1:
        raise DataError(
            f"{folder}: expected images and labels of the {part} part, found only {paths.popitem()[1].name}"
        )
    try:
        images, labels = read(paths["images"]), read(paths["labels"])
    except ValueError as error:
        raise DataError(str(error)) from error
    if labels.ndim != 1 or labels.size == 0:
        raise DataError(f"{paths['labels']}: expected labels (N,), got {labels.shape}")
    if 0 in images.shape:
        raise DataError(f"{paths['images']}: expected images of at least one pixel, got {images.shape}")
    names = classes or [str(label) for label in range(int(labels.max()) + 1)]
    try:
        dataset = Arrays(images, labels, names, lambda index: f"{paths['labels']}, position {index}")
    except LabelError:
        raise
    except DataError as error:
        raise DataError(f"{paths['images']}: {error}") from error
    return Part(paths["images"].name, dataset)
