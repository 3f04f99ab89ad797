"""Every kernel's arguments, one size off at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from cases import Case

# The axes of x that may have any size, by the operation, where not all may.
FREE = {
    "conv2d": (0, 1, 2),
    "linear": (0,),
    "local_response_norm": (0, 1, 2, 3),
    "softmax": (0, 1),
    "softmax_cross_entropy": (1,),
    "max_pool2d": (0, 1, 2, 3),
    "adaptive_avg_pool2d": (0, 1, 2, 3),
}


ANY_SHAPE = ("relu", "dropout")


def one_size_off(case: Case) -> Iterator[tuple[str, list[Any], bool]]:
    """What is off, the arrays, and whether they fit no more. Where they still fit, it is another problem."""
    operation = "conv2d" if case.op.startswith("conv2d") else "linear" if case.op.startswith("linear") else case.op
    if operation in ANY_SHAPE:
        return
    groups = case.options.get("groups", 1)
    arrays = case.arrays("float32")
    for place, array in enumerate(arrays):
        if array is None:
            continue
        free = FREE[operation] if place == 0 else (0, 1) if place == 1 and operation == "conv2d" else ()
        if place == 1 and groups == 1 and arrays[2] is None:
            free = (*free, array.ndim - 1)
        fixed = [axis for axis in range(array.ndim) if axis not in free]
        for what, other in resized(array):
            fits = other.ndim == array.ndim and all(other.shape[axis] == array.shape[axis] for axis in fixed)
            if operation == "local_response_norm":
                fits = fits and other.shape[3] % groups == 0
            elif operation == "softmax_cross_entropy":
                fits = fits and other.shape[1] > case.options["labels"].max()
            yield f"argument {place}, {what}", [*arrays[:place], other, *arrays[place + 1 :]], not fits


def resized(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The array with one more or one less along each axis, with an axis more, and turned round if that is a change."""
    for axis in range(array.ndim):
        for step in (-1, 1):
            shape = list(array.shape)
            shape[axis] += step
            yield f"axis {axis} {step:+d}", np.resize(array, shape)
    yield "an axis more", array[None]
    if array.T.shape != array.shape:
        yield "transposed", np.ascontiguousarray(array.T)
