"""Max-pooling and adaptive average pooling, forward and backward. Notation: see conv.py.

Sources: Krizhevsky et al. 2012, section 3.4 (overlapping pooling: 3x3 windows, 2 apart).
"""

from typing import Any

from ..array_module import array_module
from . import checks
from .conv import col2im, im2col
from .geometry import Pair, pair


def max_pool2d_forward(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    ties: str = "first",
) -> tuple[Any, Any]:
    """y[n, i, j, c] = the largest x[n, ., ., c] in window (i, j): x (N, H, W, C) -> y (N, OH, OW, C)

    Saved is ``won``: for each window and channel, which of its KH*KW pixels is the winner.

    Padding is -inf, so that it never wins (0 would, among negative numbers); ``inside`` says so even where
    all pixels are -inf. NaN wins always. ``stride`` defaults to ``kernel_size``.

    ``ties`` says who receives the gradient where several pixels of a window are equally large: the
    "first" in reading order, as in torch, or "all", each the whole of it, as in the code of 2012.
    """
    xp = array_module(x)
    _, OH, OW, _ = checks.max_pool2d(x, kernel_size, stride, padding, ceil_mode, ties)
    N, H, W, C = x.shape
    KH, KW = pair(kernel_size)
    stride = pair(kernel_size if stride is None else stride)

    cols = im2col(x, (KH, KW), stride, padding, -xp.inf, ceil_mode)
    inside = im2col(xp.ones((1, H, W, 1), bool), (KH, KW), stride, padding, False, ceil_mode)
    cols, inside = cols.reshape(N, OH, OW, KH * KW, C), inside.reshape(1, OH, OW, KH * KW, 1)
    y = cols.max(axis=3, keepdims=True)  # (N, OH, OW, 1, C)
    won = inside & ((cols == y) | xp.isnan(cols))  # (N, OH, OW, KH*KW, C)
    if ties == "first":
        won = xp.arange(KH * KW)[:, None] == won.argmax(axis=3, keepdims=True)
    return y.reshape(N, OH, OW, C), (won, x.shape, (KH, KW), stride, padding)


def max_pool2d_backward(dy: Any, saved: Any) -> Any:
    """dy (N, OH, OW, C) -> dx (N, H, W, C)

    y is a copy of the winner: its gradient goes to the winner, and 0 to the rest of the window. 3x3 windows,
    2 apart, overlap: a pixel that wins in several of them receives the sum, by col2im.
    """
    xp = array_module(dy)
    won, (_, H, W, _), (KH, KW), stride, padding = saved
    N, OH, OW, _, C = won.shape
    checks.gradient("max_pool2d", dy, (N, OH, OW, C))
    # where, not won * dy: 0 * inf is NaN.
    dcols = xp.where(won, dy[:, :, :, None, :], xp.zeros((), dy.dtype))
    return col2im(dcols.reshape(N, OH, OW, KH, KW, C), (H, W), stride, padding)


def adaptive_avg_pool2d_forward(x: Any, output_size: int | Pair) -> tuple[Any, Any]:
    """y[n, i, j, c] = the mean of x[n, h, w, c] over the pixels of cell (i, j): x (N, H, W, C) -> y (N, OH, OW, C)

    A grid of OH x OW cells is laid over the image. Along the vertical axis cell i covers pixels

        floor(i*H/OH)  ...  ceil((i+1)*H/OH) - 1

    and so it is along the horizontal axis (torch's rule). Where OH does not divide H, neighbouring cells share a
    pixel: for H = 3 and OH = 2 they are pixels 0, 1 and pixels 1, 2.
    """
    xp = array_module(x)
    _, OH, OW, _ = checks.adaptive_avg_pool2d(x, output_size)
    N, H, W, C = x.shape
    y = xp.empty((N, OH, OW, C), x.dtype)
    for i, rows in enumerate(_cells(H, OH)):
        for j, columns in enumerate(_cells(W, OW)):
            y[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    return y, (x.shape, (OH, OW))


def adaptive_avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    """dx[n, h, w, c] = sum of dy[n, i, j, c] / (pixels of the cell)  over the cells (i, j) that hold (h, w)

    dy (N, OH, OW, C) -> dx (N, H, W, C). A mean has the factor 1 / (pixels of the cell) for each of its pixels; a pixel
    that lies in several cells gets the sum.
    """
    xp = array_module(dy)
    (N, H, W, C), (OH, OW) = saved
    checks.gradient("adaptive_avg_pool2d", dy, (N, OH, OW, C))
    dx = xp.zeros((N, H, W, C), dy.dtype)
    for i, rows in enumerate(_cells(H, OH)):
        for j, columns in enumerate(_cells(W, OW)):
            pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
            dx[:, rows, columns] += dy[:, i : i + 1, j : j + 1] / pixels
    return dx


def _cells(size: int, cells: int) -> list[slice]:
    """The pixels of each cell along an axis."""
    return [slice(i * size // cells, -(-(i + 1) * size // cells)) for i in range(cells)]
