"""What kernels of this book take: writable, C-contiguous float32 arrays of NumPy."""

from typing import Any

import numpy as np

from ..reference import checks


def has_kernel(*arrays: Any) -> bool:
    """Whether this book has a kernel for them: other dtypes, and empty batches, are the reference book's."""
    return all(array is None or (array.dtype == np.float32 and array.size) for array in arrays)


def gradient(operation: str, dy: Any, shape: Any) -> Any:
    """dy as kernels take it. ValueError or TypeError where it has not the shape and dtype of y."""
    checks.gradient(operation, dy, shape)
    if dy.dtype != np.float32:
        raise TypeError(f"{operation}_backward: dy: expected float32 as y has, got {dy.dtype}")
    return floats(dy)


def floats(array: Any) -> Any:
    """The array as kernels take it.

    Copied only where it is not contiguous or not writable: Numba would compile once more for those.
    """
    return np.require(array, np.float32, ("C", "W"))
