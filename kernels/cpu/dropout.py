"""Dropout on a CPU: the mask is drawn as in the reference book, and applied in one pass."""

from typing import Any

import numpy as np

from .. import reference
from . import memory, threads
from .arrays import floats, gradient, has_kernel
from .jit import compiled


def dropout_forward(x: Any, p: float, rng: Any, inverted: bool = True) -> tuple[Any, Any]:
    """See the reference book: the same draws, the same mask."""
    if not has_kernel(x):
        y, saved = reference.dropout_forward(x, p, rng, inverted)
        return y, ("reference", saved)
    draws, keep, y = rng.random(x.shape, dtype=np.float32), memory.empty(x.shape, np.bool_), memory.empty(x.shape)
    scale = np.float32(1 / (1 - p) if inverted and p < 1 else 1)
    flat = (floats(x).ravel(), draws.ravel(), keep.ravel(), y.ravel())
    threads.run(_drop, [(*(array[a:b] for array in flat), np.float32(p), scale) for a, b in threads.shares(x.size)])
    return y, ("cpu", keep, scale)


def dropout_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.dropout_backward(dy, saved[1])
    _, keep, scale = saved
    dy = gradient("dropout", dy, keep.shape)
    dx = memory.empty(dy.shape)
    flat = (dy.ravel(), keep.ravel(), dx.ravel())
    threads.run(_mask, [(*(array[a:b] for array in flat), scale) for a, b in threads.shares(dy.size)])
    return dx


@compiled
def _drop(x, draws, keep, y, p, scale):  # type: ignore[no-untyped-def]
    for i in range(x.size):
        keep[i] = draws[i] >= p
        y[i] = x[i] * scale if draws[i] >= p else np.float32(0)


@compiled
def _mask(dy, keep, dx, scale):  # type: ignore[no-untyped-def]
    for i in range(dy.size):
        dx[i] = dy[i] * scale if keep[i] else np.float32(0)
