"""Max-pooling and adaptive average pooling, forward and backward. Notation: see conv.py.

Sources: Krizhevsky et al. 2012, section 3.4 (overlapping pooling: 3x3 windows, 2 apart).
"""

from typing import Any

from ..array_module import array_module
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
    KH, KW = pair(kernel_size)
    stride = pair(kernel_size if stride is None else stride)

    cols = im2col(x, (KH, KW), stride, padding, -xp.inf, ceil_mode)
    inside = im2col(xp.ones((1, *x.shape[1:3], 1), bool), (KH, KW), stride, padding, False, ceil_mode)
    N, OH, OW, _, _, C = cols.shape
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
    # where, not won * dy: 0 * inf is NaN.
    dcols = xp.where(won, dy[:, :, :, None, :], xp.zeros((), dy.dtype))
    return col2im(dcols.reshape(N, OH, OW, KH, KW, C), (H, W), stride, padding)


def adaptive_avg_pool2d_forward(x: Any, output_size: int | Pair) -> tuple[Any, Any]:
    """The mean of each cell of an OH x OW grid laid over the image: (N, H, W, C) -> (N, OH, OW, C)

    Cell i of an axis covers pixels floor(i*H/OH) ... ceil((i+1)*H/OH) - 1 (torch's rule; neighbours may
    share a pixel where OH does not divide H). The mean over a cell is the mean over its rows of the means
    over its columns. So there is a matrix for each axis, A (OH, H) and B (OW, W), and

        y = A x B'         on every channel of every image

    For H = 3 and OH = 2:  A = [1/2 1/2  0 ]
                               [ 0  1/2 1/2]
    """
    xp = array_module(x)
    OH, OW = pair(output_size)
    A = _means(xp, x.shape[1], OH, x.dtype)
    B = _means(xp, x.shape[2], OW, x.dtype)
    y = xp.einsum("ih,nhwc,jw->nijc", A, x, B, optimize=True)
    return xp.ascontiguousarray(y), (A, B)  # einsum chooses its own order in memory


def adaptive_avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    """dx = A' dy B,  (N, OH, OW, C) -> (N, H, W, C)

    As in linear.py: for y = A z it is dz = A' dy, for z = x B' it is dx = dz B.
    """
    xp = array_module(dy)
    A, B = saved
    return xp.ascontiguousarray(xp.einsum("ih,nijc,jw->nhwc", A, dy, B, optimize=True))


def _means(xp: Any, size: int, cells: int, dtype: Any) -> Any:
    """(cells, size): row i takes the mean over cell i."""
    matrix = xp.zeros((cells, size), dtype)
    for i in range(cells):
        start, stop = i * size // cells, -(-(i + 1) * size // cells)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix
