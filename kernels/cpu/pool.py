"""Max-pooling on a CPU. One byte an output says which pixel of the window won."""

from typing import Any

import numpy as np

from .. import reference
from ..reference.geometry import output_size, padding_pairs, pair
from . import memory, threads
from .arrays import floats, has_kernel
from .jit import compiled


def max_pool2d_forward(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, ties: str = "first"
) -> tuple[Any, Any]:
    """See the reference book."""
    (KH, KW), (SH, SW) = pair(kernel_size), pair(kernel_size if stride is None else stride)
    if not has_kernel(x) or ties != "first" or KH * KW > 256:
        y, saved = reference.max_pool2d_forward(x, kernel_size, stride, padding, ceil_mode, ties)
        return y, ("reference", saved)
    x = floats(x)
    N, H, W, C = x.shape
    vertical, horizontal = padding_pairs(padding)
    OH, OW = output_size(H, KH, SH, vertical, ceil_mode), output_size(W, KW, SW, horizontal, ceil_mode)
    y, won = memory.empty((N, OH, OW, C)), memory.empty((N, OH, OW, C), np.uint8)
    geometry = (H, W, C, KH, KW, SH, SW, vertical[0], horizontal[0], OH, OW)
    threads.run(_forward, [(*geometry, x.ravel(), y.ravel(), won.ravel(), r0, r1) for r0, r1 in threads.shares(N * OH)])
    return y, ("cpu", x.shape, won, geometry)


def max_pool2d_backward(dy: Any, saved: Any) -> Any:
    """See the reference book. A gather: each pixel asks the windows that hold it; no two threads write one place."""
    if saved[0] == "reference":
        return reference.max_pool2d_backward(dy, saved[1])
    _, shape, won, geometry = saved
    dx = memory.empty(shape)
    dy = floats(dy)
    threads.run(
        _backward,
        [(*geometry, dy.ravel(), won.ravel(), dx.ravel(), r0, r1) for r0, r1 in threads.shares(shape[0] * shape[1])],
    )
    return dx


def adaptive_avg_pool2d_forward(x: Any, output_size: Any) -> tuple[Any, Any]:
    """See the reference book. A grid of the image's own size, as at AlexNet's own image size, leaves x as it is."""
    if x.shape[1:3] == pair(output_size):
        return x, None
    return reference.adaptive_avg_pool2d_forward(x, output_size)


def adaptive_avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    return dy if saved is None else reference.adaptive_avg_pool2d_backward(dy, saved)


@compiled
def _forward(H, W, C, KH, KW, SH, SW, top, left, OH, OW, x, y, won, r0, r1):  # type: ignore[no-untyped-def]
    """Output rows r0 ... r1 - 1, counted over all images."""
    for r in range(r0, r1):
        n, i = divmod(r, OH)
        for j in range(OW):
            start = (r * OW + j) * C
            highest, place = y[start : start + C], won[start : start + C]
            u0, v0 = max(0, top - i * SH), max(0, left - j * SW)  # the first pixel of the window inside the image
            for u in range(u0, min(KH, H + top - i * SH)):
                for v in range(v0, min(KW, W + left - j * SW)):
                    start = ((n * H + i * SH + u - top) * W + j * SW + v - left) * C
                    pixel, here = x[start : start + C], np.uint8(u * KW + v)
                    if u == u0 and v == v0:
                        for c in range(C):
                            highest[c] = pixel[c]
                            place[c] = here
                    else:
                        for c in range(C):
                            # The first NaN stays, as with argmax.
                            better = (pixel[c] > highest[c]) | ((pixel[c] != pixel[c]) & (highest[c] == highest[c]))
                            highest[c] = pixel[c] if better else highest[c]
                            place[c] = here if better else place[c]


@compiled
def _backward(H, W, C, KH, KW, SH, SW, top, left, OH, OW, dy, won, dx, r0, r1):  # type: ignore[no-untyped-def]
    """Input rows r0 ... r1 - 1, counted over all images."""
    for r in range(r0, r1):
        n, h = divmod(r, H)
        i0, i1 = max(0, (h + top - KH) // SH + 1), min(OH, (h + top) // SH + 1)
        for w in range(W):
            j0, j1 = max(0, (w + left - KW) // SW + 1), min(OW, (w + left) // SW + 1)
            start = (r * W + w) * C
            pixel = dx[start : start + C]
            pixel[:] = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    here = np.uint8((h + top - i * SH) * KW + w + left - j * SW)
                    start = ((n * OH + i) * OW + j) * C
                    gradient, place = dy[start : start + C], won[start : start + C]
                    for c in range(C):
                        pixel[c] += gradient[c] if place[c] == here else np.float32(0)
