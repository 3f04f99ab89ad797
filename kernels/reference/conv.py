"""Convolution, forward and backward, by im2col and matrix products.

Notation, here and in pool.py
    N              images in the batch
    H, W, C        height, width and channels of the input
    KH, KW         height and width of the kernel
    SH, SW         stride
    OH, OW, O      height, width and channels of the output
    PT, PB, PL, PR rows and columns of padding at the top, bottom, left and right
    G              groups: group g sees the g-th block of C/G channels, makes the g-th block of O/G

The idea. An output pixel is a dot product of the window under it with the weights. Copy every
window into a row of its own (im2col), and all the dot products together are one matrix product:

    (N*OH*OW, KH*KW*C)  @  (KH*KW*C, O)  =  (N*OH*OW, O)

The gradients of a matrix product are two others: linear.py derives them. What is new is the way back from
the copies to the pixels (col2im): a pixel receives the sum of its copies' gradients. In one dimension,
with one channel, four pixels and a window of three:

    x = [1 2 3 4]      cols = 1 2 3      y = cols w,   y[0] = 1 w[0] + 2 w[1] + 3 w[2]
                              2 3 4                    y[1] = 2 w[0] + 3 w[1] + 4 w[2]

                      dcols = a b c      dx = [a  b+d  c+e  f]
                              d e f

The pixel 2 was copied into both rows, to where b and d are. So it changes both outputs, and b + d is its gradient.

Sources: Chellapilla, Puri & Simard 2006 (im2col); Krizhevsky et al. 2012, section 3.5 (groups).
"""

from typing import Any

from ..array_module import array_module
from . import checks
from .geometry import Pair, output_size, padding_pairs, pair

# Columns repeat every pixel KH*KW/(SH*SW) times: for 128 images those of AlexNet's second
# convolution take 0.6 GB. So they are built for a few images at a time, and never kept.
IMAGES_AT_ONCE = 16


def im2col(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair = 1,
    padding: Any = 0,
    pad_value: float = 0.0,
    ceil_mode: bool = False,
) -> Any:
    """Copy the window under each output pixel: x (N, H, W, C) -> cols (N, OH, OW, KH, KW, C).

        cols[n, i, j, u, v, c] = x[n, i*SH + u - PT, j*SW + v - PL, c]      (pad_value outside the image)

    ``padding`` is p, (vertical, horizontal) or ((top, bottom), (left, right)).
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    (KH, KW), (SH, SW) = pair(kernel_size), pair(stride)
    (PT, PB), (PL, PR) = padding_pairs(padding)
    OH = output_size(H, KH, SH, (PT, PB), ceil_mode)
    OW = output_size(W, KW, SW, (PL, PR), ceil_mode)

    # In ceil mode the last window may reach past the padding: there is room for it, too.
    height = max(PT + H + PB, (OH - 1) * SH + KH)
    width = max(PL + W + PR, (OW - 1) * SW + KW)
    padded = xp.full((N, height, width, C), pad_value, x.dtype)
    padded[:, PT : PT + H, PL : PL + W] = x

    cols = xp.empty((N, OH, OW, KH, KW, C), x.dtype)
    for u in range(KH):
        for v in range(KW):
            cols[:, :, :, u, v] = padded[:, u : u + OH * SH : SH, v : v + OW * SW : SW]
    return cols


def col2im(cols: Any, image_size: Pair, stride: int | Pair = 1, padding: Any = 0) -> Any:
    """Add every copy back to the pixel it came from: cols (N, OH, OW, KH, KW, C) -> x (N, H, W, C).

    This is im2col's backward: a pixel that was copied into several windows receives the sum of their
    gradients. im2col is linear, a matrix of zeros and ones if one wrote it down; col2im is the transpose of
    that matrix. Hence <im2col(x), c> = <x, col2im(c)> for all x and c, where <a, b> is the sum of a * b.
    """
    xp = array_module(cols)
    N, OH, OW, KH, KW, C = cols.shape
    H, W = image_size
    SH, SW = pair(stride)
    (PT, PB), (PL, PR) = padding_pairs(padding)

    height = max(PT + H + PB, (OH - 1) * SH + KH)
    width = max(PL + W + PR, (OW - 1) * SW + KW)
    padded = xp.zeros((N, height, width, C), cols.dtype)
    for u in range(KH):
        for v in range(KW):
            padded[:, u : u + OH * SH : SH, v : v + OW * SW : SW] += cols[:, :, :, u, v]
    return padded[:, PT : PT + H, PL : PL + W].copy()


def conv2d_forward(
    x: Any, w: Any, b: Any | None, stride: int | Pair = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """y[n, i, j, o] = b[o] + sum over u, v, c of  x[n, i*SH + u - PT, j*SW + v - PL, c] * w[u, v, c, o]

    x (N, H, W, C), w (KH, KW, C/G, O), b (O,) or None  ->  y (N, OH, OW, O)

    (A cross-correlation, as in every framework: the kernel is not flipped.)
    """
    xp = array_module(x)
    N, OH, OW, O = checks.conv2d(x, w, b, stride, padding, groups)
    KH, KW, _, _ = w.shape

    y = xp.empty((N, OH, OW, O), x.dtype)
    for images in _blocks(N):
        cols = im2col(x[images], (KH, KW), stride, padding)
        for c, o in _channel_blocks(w, groups):
            # (n, OH, OW, KH, KW, C/G) . (KH, KW, C/G, O/G)  ->  (n, OH, OW, O/G)
            y[images, ..., o] = xp.tensordot(cols[..., c], w[..., o], axes=3)
    if b is not None:
        y += b
    return y, (x, w, b is not None, stride, padding, groups)


def conv2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """dy (N, OH, OW, O)  ->  dx (N, H, W, C), dw (KH, KW, C/G, O), db (O,)

    With one row for each output pixel, forward was  Y = X_cols W + b:  linear.py's product. So its gradients
    are linear.py's,

        db      = the sum of dY's rows
        dW      = X_cols' dY
        dX_cols = dY W'

    and col2im adds those of the copies up to those of the pixels, dx = col2im(dX_cols). X_cols is built
    again: keeping it would take KH*KW/(SH*SW) times the memory of x.

    dx is None unless ``input_grad``: the first layer of a network has no use for it. db is None
    where forward had no bias.
    """
    x, w, has_bias, stride, padding, groups = saved
    checks.gradient("conv2d", dy, checks.conv2d(x, w, None, stride, padding, groups))
    xp = array_module(x)
    N, H, W, _ = x.shape
    KH, KW, _, _ = w.shape

    dw = xp.zeros_like(w)
    dx: Any = xp.empty_like(x) if input_grad else None
    for images in _blocks(N):
        cols = im2col(x[images], (KH, KW), stride, padding)
        dcols: Any = xp.empty_like(cols) if input_grad else None
        for c, o in _channel_blocks(w, groups):
            # (n, OH, OW, KH, KW, C/G) . (n, OH, OW, O/G)  ->  (KH, KW, C/G, O/G)
            dw[..., o] += xp.tensordot(cols[..., c], dy[images, ..., o], axes=((0, 1, 2), (0, 1, 2)))
            if input_grad:
                # (n, OH, OW, O/G) . (KH, KW, C/G, O/G)  ->  (n, OH, OW, KH, KW, C/G)
                dcols[..., c] = xp.tensordot(dy[images, ..., o], w[..., o], axes=((3,), (3,)))
        if input_grad:
            dx[images] = col2im(dcols, (H, W), stride, padding)
    db = dy.sum(axis=(0, 1, 2)) if has_bias else None
    return dx, dw, db


def conv2d_algorithm(x_shape: Any, w_shape: Any, stride: int | Pair = 1, padding: Any = 0, groups: int = 1) -> str:
    """The algorithm that conv2d_forward uses for these shapes: here there is only one."""
    return "im2col"


def _blocks(N: int) -> list[slice]:
    """The batch in slices of a few images."""
    return [slice(n, n + IMAGES_AT_ONCE) for n in range(0, N, IMAGES_AT_ONCE)]


def _channel_blocks(w: Any, groups: int) -> list[tuple[slice, slice]]:
    """For every group: its slice of the input channels and its slice of the output channels."""
    C, O = w.shape[2], w.shape[3] // groups
    return [(slice(g * C, (g + 1) * C), slice(g * O, (g + 1) * O)) for g in range(groups)]
