"""Memory that is used again: large arrays from a pool instead of from the operating system.

A training step at batch 128 makes 0.8 GB of arrays and drops them. Fresh memory arrives page by page,
each cleared to zero first, which would cost more time than all of max-pooling.
"""

import threading
from collections import deque
from math import prod
from queue import SimpleQueue
from typing import Any

import numpy as np

_SMALL = 1 << 16  # bytes; below this, NumPy's own allocation is as quick
_ALIGNMENT = 64

_lock = threading.Lock()
_free: deque[np.ndarray] = deque()  # oldest first
# Blocks on their way back. Python may collect garbage at any moment, also while this very thread holds the lock: what
# dies then is queued, which needs none.
_returned: SimpleQueue[np.ndarray] = SimpleQueue()
_leased = 0  # bytes in use
_most_leased = 0


def empty(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """np.empty, from the pool. The memory goes back when the array and its last view are gone."""
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = prod(shape) * dtype.itemsize
    return np.empty(shape, dtype) if size < _SMALL else np.asarray(_Lease(_take(size), shape, dtype))


def zeros(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """np.zeros, from the pool."""
    array = empty(shape, dtype)
    array.fill(0)
    return array


def held_bytes() -> int:
    """All that the pool has from the operating system: in use and idle."""
    with _lock:
        _take_back()
        return _leased + sum(block.nbytes for block in _free)


class _Lease:
    """Owner of a block while arrays look at it: NumPy keeps it as the base of every view."""

    def __init__(self, block: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self.block = block
        address = block.ctypes.data
        self.__array_interface__ = {
            "version": 3,
            "shape": shape,
            "typestr": dtype.str,
            "data": (address + -address % _ALIGNMENT, False),
        }

    def __del__(self) -> None:
        _returned.put(self.block)


def _take(size: int) -> np.ndarray:
    global _leased, _most_leased
    size += _ALIGNMENT
    with _lock:
        _take_back()
        fitting = [block for block in _free if size <= block.nbytes <= size + size // 4]
        block = min(fitting, key=lambda block: block.nbytes, default=None)
        if block is not None:
            _drop(block)
        _leased += block.nbytes if block is not None else size
        _most_leased = max(_most_leased, _leased)
        # Never hold more than was once in use: idle blocks of other sizes make room, oldest first.
        while _free and _leased + sum(b.nbytes for b in _free) > _most_leased:
            _free.popleft()
    return np.empty(size, np.uint8) if block is None else block


def _drop(block: np.ndarray) -> None:
    """Take this very block from the free list (== would compare contents)."""
    for position, candidate in enumerate(_free):
        if candidate is block:
            del _free[position]
            return


def _take_back() -> None:
    """Move what was returned to the free list. The caller holds the lock."""
    global _leased
    while not _returned.empty():
        block = _returned.get()
        _leased -= block.nbytes
        _free.append(block)
