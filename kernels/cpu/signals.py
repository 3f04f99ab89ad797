"""A count that threads watch for a moment before they go to sleep.

Waking a thread takes the operating system some 40 us, as long as a small layer takes to compute; a thread that
is still watching goes on within 8.
"""

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import compiled

_X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
# Some 0.1 ms: longer than what lies between two operations of a network, and too short to be in anybody's way.
_LOOKS = 4000 if _X86 else 50_000
# Who is seen to post a task will need a few us more to begin its own and let go of the GIL: to ask for the GIL at once
# would mean to sleep until then.
_LOOKS_AFTERWARDS = _LOOKS // 32
_LINE = 16  # of the cache, in 8 bytes and twice over: nothing else lies near a count


class Count:
    """A number that only grows. It is a hint and no lock: an addition may get lost, and a watch ends in any case."""

    def __init__(self) -> None:
        self._cells = np.zeros(2 * _LINE, np.int64)

    @property
    def value(self) -> int:
        return int(self._cells[_LINE])

    def add(self, number: int) -> None:
        self._cells[_LINE] += number

    def watch(self, goal: int) -> None:
        """Return when the count has reached ``goal``, or after a moment."""
        _watch(self._cells, goal)


@compiled
def _watch(cells, goal):  # type: ignore[no-untyped-def]
    for _ in range(_LOOKS):
        if _atomic_load(cells, _LINE) >= goal:
            break
        _pause()
    for _ in range(_LOOKS_AFTERWARDS):
        _pause()


@intrinsic
def _atomic_load(typing: Any, cells: Any, i: Any) -> Any:
    """cells[i], from memory each time."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(builder.gep(array.data, [args[1]]), "monotonic", 8)

    return types.int64(cells, types.intp), emit


@intrinsic
def _pause(typing: Any) -> Any:
    """Tell an x86 core that it is waiting: it spares power, and its other thread."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
        if _X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), emit
