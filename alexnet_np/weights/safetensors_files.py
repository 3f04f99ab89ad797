"""safetensors, read and written.

    8 bytes, the header's length | the header, JSON | the numbers of all tensors, one after another
    {"__metadata__": {"format": "pt"}, "classifier.6.bias": {"dtype": "F32", "shape": [10], "data_offsets": [0, 40]}}

Read here, because NumPy has no bfloat16, and a file of integers must not pass for weights. What the header says of
sizes is checked before memory is taken. Written here, because the same weights have to give the same bytes: the
safetensors package writes metadata in an order that differs from one time to the next.

Source: https://huggingface.co/docs/safetensors, "Format".
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..reading import json_value
from .bfloat16 import widened

MAX_HEADER = 30_000_000  # bytes, for a description with a mean image; the format's own limit is 100 million
MAX_TENSORS = 10_000  # AlexNet has 16
METADATA = "__metadata__"
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
BFLOAT16 = "BF16"
SIZES = {**{name: np.dtype(code).itemsize for name, code in DTYPES.items()}, BFLOAT16: 2}
QUANTISED = ("I8", "U8", "F8", "F4", "F6")  # how such dtypes begin


@dataclass(frozen=True)
class Tensor:
    """Where the numbers of a tensor lie among all of them, in bytes."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """name -> array (float16, float32 or float64; bfloat16 becomes float32).

    Raises OSError where the file cannot be read, ValueError where it is damaged or holds anything but floating-point
    numbers.
    """
    with open(path, "rb") as file:
        _, tensors, size = _header(file)
        numbers = np.fromfile(file, np.uint8, size)
    return {name: _array(tensor, numbers) for name, tensor in tensors.items()}


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The metadata; the numbers are not read. Errors: see read."""
    with open(path, "rb") as file:
        metadata, _, _ = _header(file)
    return metadata


def write(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays of float16, float32 or float64. ValueError for others, OSError where it cannot be written."""
    codes = {np.dtype(code): name for name, code in DTYPES.items()}
    header: dict[str, Any] = {METADATA: dict(metadata)}
    end = 0
    # The larger numbers first, so that each tensor lies at a multiple of the size of its numbers.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    for name in names:
        array = arrays[name]
        dtype = array.dtype.newbyteorder("<")
        if dtype not in codes:
            raise ValueError(f"weights: {name}: expected float16, float32 or float64 numbers, got {array.dtype}")
        start, end = end, end + array.nbytes
        header[name] = {"dtype": codes[dtype], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"weights: expected names and metadata of at most {MAX_HEADER:,} bytes, got {len(text):,}")
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<")).data)


def _header(file: BinaryIO) -> tuple[dict[str, str], dict[str, Tensor], int]:
    """Metadata, tensors, and the bytes of all their numbers, which come next in the file."""
    whole = os.fstat(file.fileno()).st_size
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER, whole - 8):
        raise ValueError(f"its header is said to have {length:,} bytes: it is cut short, or no such file")
    try:
        values = json_value(file.read(length).decode(), _once)
    except ValueError as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ValueError("its header is damaged: expected a JSON object")
    metadata = values.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError(f"its header is damaged: expected texts in {METADATA}")
    if len(values) > MAX_TENSORS:
        raise ValueError(f"expected at most {MAX_TENSORS:,} tensors, got {len(values):,}")
    tensors = {name: _tensor(name, value) for name, value in values.items()}
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != position:
            raise ValueError(f"{name:.200}: expected its numbers at byte {position}, got {tensor.start}")
        position = tensor.end
    if position != whole - 8 - length:
        raise ValueError(f"expected {position:,} bytes of numbers, got {whole - 8 - length:,}: is it cut short?")
    return metadata, tensors, position


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands in it twice")
    return values


def _tensor(name: str, value: Any) -> Tensor:
    match value:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(end)]} if (
            len(value) == 3 and len(shape) <= 8 and all(type(n) is int and 0 <= n < 2**63 for n in (*shape, start, end))
        ):
            if dtype not in SIZES:
                why = ": a quantised file, whose scales are not known here" if dtype.startswith(QUANTISED) else ""
                expected = "floating-point numbers (F64, F32, F16 or BF16)"
                raise ValueError(f"{name:.200}: expected {expected}, got {dtype:.20}{why}: save the weights as floats")
            if prod(n or 1 for n in shape) * SIZES[dtype] >= 2**63:  # even where one of them is 0
                raise ValueError(f"{name:.200}: expected a shape that fits into memory, got {shape}")
            if end - start != prod(shape) * SIZES[dtype]:
                raise ValueError(f"{name:.200}: expected {prod(shape) * SIZES[dtype]:,} bytes, got {end - start:,}")
            return Tensor(dtype, tuple(shape), start, end)
    raise ValueError(f"its header is damaged: expected dtype, shape and data_offsets of {name!r:.200}")


def _array(tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    own = numbers[tensor.start : tensor.end]
    if tensor.dtype != BFLOAT16:
        return own.view(DTYPES[tensor.dtype]).reshape(tensor.shape)
    return widened(own.view("<u2")).reshape(tensor.shape)
