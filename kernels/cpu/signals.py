"""Numbers that threads share: changed in one piece, and watched for a moment before a thread goes to sleep.

Waking a thread takes the operating system some 40 us, as long as a small layer takes to compute; a thread that
is still watching goes on within 8.
"""

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import brief, compiled, inner

_X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
# Some 0.1 ms: longer than what lies between two operations of a network, and too short to be in anybody's way.
_LOOKS = 4000 if _X86 else 50_000
# A thread that sees a task posted waits a few us more, until the poster has begun its own task and let go of the GIL:
# asking for the GIL at once would mean sleeping until then.
_LOOKS_AFTERWARDS = _LOOKS // 32
LINE = 16  # a cache line and its neighbour, in numbers of 8 bytes: what different threads write lies so far apart


def cells(count: int) -> np.ndarray:
    """Memory for so many shared numbers, all 0: number i is at index (i + 1) * LINE."""
    return np.zeros((count + 2) * LINE, np.int64)


class Count:
    """A number that only grows, and that threads can watch."""

    def __init__(self) -> None:
        self._cells = cells(1)

    @property
    def value(self) -> int:
        """The number now."""
        return int(self._cells[LINE])

    def add(self, number: int) -> None:
        """Add to it; additions of several threads all count."""
        _add(self._cells, number)

    def watch(self, goal: int) -> None:
        """Return when the count has reached ``goal``, or after a moment."""
        watch(self._cells, LINE, goal)


@brief
def _add(cells, number):  # type: ignore[no-untyped-def]
    atomic_add(cells, LINE, number)


@compiled
def watch(cells, i, goal):  # type: ignore[no-untyped-def]
    """Return when cells[i] has reached ``goal``, or after a moment."""
    for _ in range(_LOOKS):
        if atomic_load(cells, i) >= goal:
            break
        pause()
    for _ in range(_LOOKS_AFTERWARDS):
        pause()


@inner
def wait(cells, i, goal):  # type: ignore[no-untyped-def]
    """Return when cells[i] has reached ``goal``, however long that takes."""
    while atomic_load(cells, i) < goal:
        pause()


def _pointer(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
    array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def atomic_load(typing: Any, cells: Any, i: Any) -> Any:
    """cells[i], from memory each time."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, args), "seq_cst", 8)

    return types.int64(cells, types.intp), emit


@intrinsic
def atomic_add(typing: Any, cells: Any, i: Any, number: Any) -> Any:
    """cells[i] += number; returns what it was before."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(context, builder, signature, args), args[2], "seq_cst")

    return types.int64(cells, types.intp, types.int64), emit


@intrinsic
def atomic_exchange(typing: Any, cells: Any, i: Any, number: Any) -> Any:
    """cells[i] = number; returns what it was before."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", _pointer(context, builder, signature, args), args[2], "seq_cst")

    return types.int64(cells, types.intp, types.int64), emit


@intrinsic
def pause(typing: Any) -> Any:
    """Tell an x86 core that it is waiting: it spares power, and its other thread."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit
