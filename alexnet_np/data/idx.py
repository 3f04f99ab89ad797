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

import numpy as np

from .dataset import Arrays, DataError, class_names

NAME = re.compile(r"(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
START, GZIP = b"\0\0\x08", b"\x1f\x8b"


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The uint8 array in an IDX file, gzip-compressed or plain. ValueError where it is none, or not whole."""
    content = Path(path).read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the compressed file is damaged or cut short ({error})") from error
    if len(content) < 4 or not content.startswith(START):
        raise ValueError(
            f"{path}: is not an IDX file of unsigned bytes (expected {START!r} first, got {content[:3]!r})"
        )
    start = 4 + 4 * content[3]
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    expected = start + prod(shape)
    if len(content) != expected:
        raise ValueError(f"{path}: expected {expected} bytes for an array of shape {shape}, got {len(content)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


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
    try:
        return Arrays(images, labels, classes or [str(label) for label in range(int(labels.max()) + 1)])
    except DataError as error:
        raise DataError(f"{folder}, {part}: {error}") from error
