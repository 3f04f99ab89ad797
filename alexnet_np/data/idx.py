"""The IDX format of MNIST and its successors (http://yann.lecun.com/exdb/mnist).

2 bytes 0 | 1 byte type | 1 byte number of axes | a big-endian uint32 for each axis | the values, big-endian
"""

import gzip
import os
import zlib
from math import prod
from pathlib import Path

import numpy as np

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, gzip-compressed or plain. ValueError where it is none, or not whole."""
    content = Path(path).read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the compressed file is damaged or cut short ({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES:
        raise ValueError(
            f"{path}: is not an IDX file (expected two zero bytes and a type at the start, got {content[:4]!r})"
        )
    dtype, axes = np.dtype(DTYPES[content[2]]), content[3]
    start = 4 + 4 * axes
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], ">u4")) if len(content) >= start else ()
    expected = start + prod(shape) * dtype.itemsize
    if len(shape) != axes or len(content) != expected:
        raise ValueError(f"{path}: expected {expected} bytes for an array of shape {shape}, got {len(content)}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
