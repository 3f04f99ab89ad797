"""Memory that is used again: large arrays from a pool instead of from the operating system.

A training step at batch 128 makes 0.8 GB of arrays and drops them. Fresh memory arrives page by page,
each cleared to zero first, which would cost more time than all of max-pooling.

An interrupt (Ctrl-C) may come between any two instructions, except that CPython looks for signals only at calls, at
jumps backward and where a function begins. The lines that change the pool's account have none of these: they are
marked "all or nothing", and the account is right whatever is raised around them.
"""

import threading
import weakref
from collections import deque
from math import prod
from typing import Any

import numpy as np

_SMALL = 1 << 16  # bytes; below this, NumPy's own allocation is as quick
_ALIGNMENT = 64


class _Lease:
    """Owner of a block while arrays look at it: NumPy keeps it as the base of every view."""

    __array_interface__: dict[str, Any]


class _Return(weakref.ref[_Lease]):
    """A lease's block, and the way back: when the lease dies, Python hands this to ``_returned.append``.

    (A ``__del__`` would be Python code, in which an interrupt can be raised, and is lost.)
    """

    block: np.ndarray | None = None


_lock = threading.Lock()
_free: list[np.ndarray] = []  # oldest first
_leases: dict[int, _Return] = {}  # by the address of the block: they have to live until their leases die
# Blocks on their way back. Python may collect garbage at any moment, also while this very thread holds the lock: what
# dies then is queued, which needs none.
_returned: deque[_Return] = deque()
_leased = 0  # bytes in use
_most_leased = 0


def empty(shape: Any, dtype: Any = np.float32) -> np.ndarray:
    """np.empty, from the pool. The memory goes back when the array and its last view are gone."""
    dtype = np.dtype(dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = prod(shape) * dtype.itemsize
    if size < _SMALL:
        return np.empty(shape, dtype)
    lease = _Lease()
    with _lock:
        _take_back()
        address = _take(lease, size + _ALIGNMENT)
    lease.__array_interface__ = {
        "version": 3,
        "shape": shape,
        "typestr": dtype.str,
        "data": (address + -address % _ALIGNMENT, False),
    }
    return np.asarray(lease)


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


def leased_bytes() -> int:
    """What is in use."""
    with _lock:
        _take_back()
        return _leased


def _take(lease: _Lease, size: int) -> int:
    """Give the lease a block of this size or up to a quarter more; returns its address. The caller holds the lock."""
    global _leased, _most_leased
    way_back = _Return(lease, _returned.append)
    fitting = [(block.nbytes, place) for place, block in enumerate(_free) if size <= block.nbytes <= size + size // 4]
    place = None
    if fitting:
        size, place = min(fitting)
        block = _free[place]
    else:
        # Never hold more than was once in use: idle blocks of other sizes make room, oldest first.
        most = max(_most_leased, _leased + size)
        while _free and _leased + size + sum(block.nbytes for block in _free) > most:
            del _free[0]
        block = np.empty(size, np.uint8)
    address = block.ctypes.data
    # All or nothing.
    if place is not None:
        del _free[place]
    way_back.block = block
    _leases[address] = way_back
    _leased += size
    if _leased > _most_leased:
        _most_leased = _leased
    return int(address)


def _take_back() -> None:
    """Move what was returned to the free list. The caller holds the lock."""
    global _leased, _free
    while _returned:
        way_back = _returned[0]
        block = way_back.block
        if block is None:  # an interrupt came before it got one
            del _returned[0]
            continue
        address, size, one = block.ctypes.data, block.nbytes, [block]
        # All or nothing.
        _leased -= size
        _free += one
        del _leases[address]
        del _returned[0]
