"""The bias and the ReLU behind a product on a GPU: bias.cu."""

from typing import Any

from ..array_module import array_module
from .activation import relu_backward
from .launch import TYPES, contiguous, launch, tiles, width

PARTS = 512  # blocks of rows whose sums are added up in a second launch


def add_bias(y: Any, b: Any | None, relu: bool) -> None:
    """y += b, and max(y, 0) where ``relu``: in place, y (..., O)."""
    O = y.shape[-1]
    wide = width(O, y)
    grid, block = tiles(y.size // O, O // wide)
    launch("add_bias", y, wide, grid, y, None if b is None else contiguous(b), y.size // O, O, relu, block=block)


def gradient(dy: Any, y: Any | None, has_bias: bool) -> tuple[Any, Any]:
    """Back through ReLU and bias: dz = 0 where y <= 0, else dy (dy itself where y is None: no ReLU), and db.

    dy (..., O)  ->  dz (..., O), db (O,) in the dtype of sums, or None without a bias
    """
    dy = contiguous(dy)
    if has_bias:
        return _gradient(dy, y)
    return (dy if y is None else relu_backward(dy, y)), None


def _gradient(dy: Any, y: Any | None) -> tuple[Any, Any]:
    xp, O = array_module(dy), dy.shape[-1]
    dz = None if y is None else xp.empty_like(dy)
    wide = width(O, dy) if y is None else width(O, dy, y)
    count = dy.size // O
    grid, block = tiles(count, O // wide, PARTS)
    sums = xp.empty((grid[0], O), TYPES[dy.dtype.name][2])
    launch("bias_gradient", dy, wide, grid, dy, y, dz, sums, count, O, block=block)
    return dy if dz is None else dz, sums[0] if len(sums) == 1 else _gradient(sums, None)[1]
