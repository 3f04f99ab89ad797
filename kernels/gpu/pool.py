"""Max-pooling and adaptive average pooling on a GPU: pool.cu. One byte an output says which pixel of the window won."""

from typing import Any

from .. import reference
from ..array_module import array_module
from ..reference import checks
from ..reference.geometry import padding_pairs, pair
from .launch import contiguous, has_kernel, launch, rows, width
from .precision import rounded


def has_pool(
    kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, ties: str = "first"
) -> bool:
    """Whether pool.cu does this: one winner a window, in one byte."""
    KH, KW = pair(kernel_size)
    return ties == "first" and KH * KW <= 256


def max_pool2d_forward(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, ties: str = "first"
) -> tuple[Any, Any]:
    """See the reference book."""
    shape = checks.max_pool2d(x, kernel_size, stride, padding, ceil_mode, ties)
    (KH, KW), (SH, SW) = pair(kernel_size), pair(kernel_size if stride is None else stride)
    if not has_kernel(x) or not has_pool(kernel_size, stride, padding, ceil_mode, ties):
        y, saved = reference.max_pool2d_forward(x, kernel_size, stride, padding, ceil_mode, ties)
        return y, ("reference", saved)
    xp, x = array_module(x), contiguous(x)
    (N, H, W, C), (_, OH, OW, _) = x.shape, shape
    vertical, horizontal = padding_pairs(padding)
    y, won = xp.empty(shape, x.dtype), xp.empty(shape, "uint8")
    geometry = (N, H, W, C, OH, OW, KH, KW, SH, SW, vertical[0], horizontal[0])
    wide = width(C, x)
    launch("max_pool2d_forward", x, wide, rows(N * OH, OW * C // wide), x, y, won, *geometry)
    return y, ("gpu", won, geometry)


def max_pool2d_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "reference":
        dx = reference.max_pool2d_backward(dy, saved[1])
        return dx if dx.dtype == dy.dtype else rounded(dx)  # CuPy's where makes float32 of bfloat16
    _, won, geometry = saved
    checks.gradient("max_pool2d", dy, won.shape)
    N, H, W, C = geometry[:4]
    dy = contiguous(dy)
    dx = array_module(dy).empty((N, H, W, C), dy.dtype)
    wide = width(C, dy)
    launch("max_pool2d_backward", dy, wide, rows(N * H, W * C // wide), dy, won, dx, *geometry)
    return dx


def adaptive_avg_pool2d_forward(x: Any, output_size: Any) -> tuple[Any, Any]:
    """See the reference book. A grid of the image's own size, as at AlexNet's own image size, leaves x as it is."""
    shape = checks.adaptive_avg_pool2d(x, output_size)
    if x.shape == shape:
        return x, ("as it is", shape)
    if not has_kernel(x):
        y, saved = reference.adaptive_avg_pool2d_forward(x, output_size)
        return y, ("reference", saved)
    x = contiguous(x)
    N, OH, OW, C = shape
    geometry = (*x.shape, OH, OW)
    y = array_module(x).empty(shape, x.dtype)
    wide = width(C, x)
    launch("adaptive_avg_pool2d_forward", x, wide, rows(N * OH, OW * C // wide), x, y, *geometry)
    return y, ("gpu", geometry)


def adaptive_avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "as it is":
        checks.gradient("adaptive_avg_pool2d", dy, saved[1])
        return dy
    if saved[0] == "reference":
        return reference.adaptive_avg_pool2d_backward(dy, saved[1])
    geometry = saved[1]
    N, H, W, C, OH, OW = geometry
    checks.gradient("adaptive_avg_pool2d", dy, (N, OH, OW, C))
    dy = contiguous(dy)
    dx = array_module(dy).empty((N, H, W, C), dy.dtype)
    wide = width(C, dy)
    launch("adaptive_avg_pool2d_backward", dy, wide, rows(N * H, W * C // wide), dy, dx, *geometry)
    return dx
