"""Run every kernel of the CPU backend between guard pages: python guard_pages.py end|start|beyond.

Every array, those of the memory pool among them, ends where a page begins that may neither be read nor written (with
"start", it begins where such a page ends). A kernel that reads or writes beyond an array ends the process.
"""

import ctypes
import mmap
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from alexnet_np.kernels.cpu import memory

from alexnet_np import backend

sys.path[:0] = [str(Path(__file__).parents[1])]
from cases import CASES  # noqa: E402 (the line above finds it)
from misfits import one_size_off, resized  # noqa: E402

PAGE = mmap.PAGESIZE
mprotect = ctypes.CDLL(None, use_errno=True).mprotect
mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def guarded(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """An uninitialised array beside a guard page."""
    shape, dtype = (shape,) if isinstance(shape, int) else tuple(shape), np.dtype(dtype)
    size = prod(shape) * dtype.itemsize
    pages = -(-max(size, 1) // PAGE)
    block = mmap.mmap(-1, (pages + 2) * PAGE)
    first = ctypes.addressof(ctypes.c_char.from_buffer(block))
    for page in (first, first + (pages + 1) * PAGE):
        assert mprotect(page, PAGE, 0) == 0
    offset = PAGE if AT_START else (pages + 1) * PAGE - size
    return np.frombuffer(block, dtype, prod(shape), offset).reshape(shape)


def copied(array: np.ndarray | None) -> np.ndarray | None:
    if array is None:
        return None
    copy = guarded(array.shape, array.dtype)
    copy[...] = array
    return copy


if __name__ == "__main__":
    AT_START = sys.argv[1] == "start"
    if sys.argv[1] == "beyond":  # what such a page is for
        ctypes.string_at(guarded(10).ctypes.data, 41)
    memory.empty = guarded
    kernels = {name: backend.get("cpu", name).kernels for name in ("auto", "winograd", "im2col")}
    for name, case in CASES.items():
        expected = case.run(kernels["auto"], case.arrays("float32"))
        for what, arrays, refused in one_size_off(case):
            try:
                case.forward(kernels["auto"], *map(copied, arrays))
            except ValueError:
                refused = False
            assert not refused, f"{name}: {what} was not refused"
        for algorithm in kernels if "conv" in name else ("auto",):
            y, saved = case.forward(kernels[algorithm], *map(copied, case.arrays("float32")))
            results = [y, *case.backward(kernels[algorithm], copied(case.dy(y)), saved)]
            for found, right in zip(results, expected, strict=True):
                if right is not None:
                    np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-3, err_msg=f"{name}, {algorithm}")
        for _, dy in resized(case.dy(expected[0])) if expected[0].ndim else ():
            _, saved = case.forward(kernels["auto"], *map(copied, case.arrays("float32")))
            try:
                case.backward(kernels["auto"], copied(dy), saved)
            except ValueError:
                continue
            raise AssertionError(f"{name}: dy of shape {dy.shape} was not refused")
    for update in ("sgd_torch_inplace", "sgd_2012_inplace"):
        w, g, v = (copied(np.ones(1001, np.float32)) for _ in range(3))
        getattr(kernels["auto"], update)(w, g, v, 0.1, 0.9, 0.01)
    print("all kernels stay within their arrays")
