"""Max-pooling and adaptive average pooling on a CPU. One byte an output says which pixel of the window won."""

from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..reference import checks
from ..reference.geometry import Shape, padding_pairs, pair
from . import memory, threads
from .arrays import floats, gradient, has_kernel
from .elementwise import add
from .jit import compiled, inner

NOBODY = 255  # in place of the winner, where no gradient passes


class Plan(NamedTuple):
    """The geometry of one pooling: windows of KH x KW pixels on images (H, W, C)."""

    H: int
    W: int
    C: int
    KH: int
    KW: int
    SH: int
    SW: int
    top: int  # padding
    left: int
    OH: int
    OW: int


class Grid(NamedTuple):
    """OH x OW cells, laid over images (H, W, C)."""

    H: int
    W: int
    C: int
    OH: int
    OW: int


def plan(
    shape: Shape, output_shape: Shape, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    ties: str = "first",
) -> Plan | None:  # fmt: skip
    """For x and y of these shapes and max_pool2d_forward's arguments; None where the CPU backend has no kernel."""
    (KH, KW), (SH, SW) = pair(kernel_size), pair(kernel_size if stride is None else stride)
    if ties != "first" or KH * KW > NOBODY:
        return None
    (_, H, W, C), (_, OH, OW, _) = shape, output_shape
    (top, _), (left, _) = padding_pairs(padding)
    return Plan(H, W, C, KH, KW, SH, SW, top, left, OH, OW)


def max_pool2d_forward(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, ties: str = "first"
) -> tuple[Any, Any]:
    """See the reference book."""
    options = kernel_size, stride, padding, ceil_mode, ties
    shape = checks.max_pool2d(x, *options)
    p = plan(x.shape, shape, *options) if has_kernel(x) else None
    if p is None:
        y, saved = reference.max_pool2d_forward(x, *options)
        return y, ("reference", saved)
    y, won = memory.empty(shape), memory.empty(shape, np.uint8)
    x = floats(x).ravel()
    threads.run(_forward, [(p, x, y.ravel(), won.ravel(), r0, r1) for r0, r1 in threads.shares(shape[0] * p.OH)])
    return y, (p, won)


def max_pool2d_backward(dy: Any, saved: Any) -> Any:
    """See the reference book. A gather: each pixel asks the windows that hold it; no two threads write one place."""
    if saved[0] == "reference":
        return reference.max_pool2d_backward(dy, saved[1])
    p, won = saved
    N = won.shape[0]
    dy = gradient("max_pool2d", dy, won.shape).ravel()
    dx = memory.empty((N, p.H, p.W, p.C))
    threads.run(_backward, [(p, dy, won.ravel(), dx.ravel(), r0, r1) for r0, r1 in threads.shares(N * p.H)])
    return dx


def adaptive_avg_pool2d_forward(x: Any, output_size: Any) -> tuple[Any, Any]:
    """See the reference book. A grid of the image's own size, as at AlexNet's own image size, leaves x as it is."""
    shape = checks.adaptive_avg_pool2d(x, output_size)
    if x.shape == shape:
        return x, ("as it is", shape)
    if not has_kernel(x):
        y, saved = reference.adaptive_avg_pool2d_forward(x, output_size)
        return y, ("reference", saved)
    N, H, W, C = x.shape
    grid = Grid(H, W, C, *pair(output_size))
    y = memory.empty(shape)
    x = floats(x).ravel()
    threads.run(_cells, [(grid, x, y.ravel(), r0, r1) for r0, r1 in threads.shares(N * grid.OH)])
    return y, ("cpu", grid, N)


def adaptive_avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "as it is":
        checks.gradient("adaptive_avg_pool2d", dy, saved[1])
        return dy
    if saved[0] == "reference":
        return reference.adaptive_avg_pool2d_backward(dy, saved[1])
    _, grid, N = saved
    dy = gradient("adaptive_avg_pool2d", dy, (N, grid.OH, grid.OW, grid.C)).ravel()
    dx = memory.empty((N, grid.H, grid.W, grid.C))
    threads.run(_pixels, [(grid, dy, dx.ravel(), r0, r1) for r0, r1 in threads.shares(N * grid.H)])
    return dx


@inner
def pool_row(p, x, x0, line, i, y, won, y0, c0, c1):  # type: ignore[no-untyped-def]
    """Row i of the outputs of the image at x[x0], whose rows are ``line`` floats apart, to y and won from y0 on.

    Channels c0 ... c1 - 1.
    """
    u0, u1 = max(0, p.top - i * p.SH), min(p.KH, p.H + p.top - i * p.SH)  # what of the window is inside the image
    for j in range(p.OW):
        v0, v1 = max(0, p.left - j * p.SW), min(p.KW, p.W + p.left - j * p.SW)
        start = y0 + j * p.C
        highest, place = y[start + c0 : start + c1], won[start + c0 : start + c1]
        for u in range(u0, u1):
            for v in range(v0, v1):
                start = x0 + (i * p.SH + u - p.top) * line + (j * p.SW + v - p.left) * p.C
                pixel, here = x[start + c0 : start + c1], np.uint8(u * p.KW + v)
                if u == u0 and v == v0:
                    for c in range(c1 - c0):
                        highest[c] = pixel[c]
                        place[c] = here
                else:
                    for c in range(c1 - c0):
                        # The first NaN stays, as with argmax.
                        better = (pixel[c] > highest[c]) | ((pixel[c] != pixel[c]) & (highest[c] == highest[c]))
                        highest[c] = pixel[c] if better else highest[c]
                        place[c] = here if better else place[c]


@inner
def gather_row(p, dy, won, n, h, dx, x0, c0, c1):  # type: ignore[no-untyped-def]
    """Row h of the gradient of image n, to dx from x0 on, channels c0 ... c1 - 1."""
    i0, i1 = max(0, (h + p.top - p.KH) // p.SH + 1), min(p.OH, (h + p.top) // p.SH + 1)
    for w in range(p.W):
        j0, j1 = max(0, (w + p.left - p.KW) // p.SW + 1), min(p.OW, (w + p.left) // p.SW + 1)
        start = x0 + w * p.C
        pixel = dx[start + c0 : start + c1]
        pixel[:] = 0
        for i in range(i0, i1):
            for j in range(j0, j1):
                here = np.uint8((h + p.top - i * p.SH) * p.KW + w + p.left - j * p.SW)
                start = ((n * p.OH + i) * p.OW + j) * p.C
                gradient, place = dy[start + c0 : start + c1], won[start + c0 : start + c1]
                for c in range(c1 - c0):
                    pixel[c] += gradient[c] if place[c] == here else np.float32(0)


@compiled
def _forward(p, x, y, won, r0, r1):  # type: ignore[no-untyped-def]
    """Output rows r0 ... r1 - 1, counted over all images."""
    for r in range(r0, r1):
        n, i = divmod(r, p.OH)
        line = p.W * p.C
        pool_row(p, x, n * p.H * line, line, i, y, won, r * p.OW * p.C, 0, p.C)


@compiled
def _backward(p, dy, won, dx, r0, r1):  # type: ignore[no-untyped-def]
    """Input rows r0 ... r1 - 1, counted over all images."""
    for r in range(r0, r1):
        n, h = divmod(r, p.H)
        gather_row(p, dy, won, n, h, dx, r * p.W * p.C, 0, p.C)


@inner
def _first(i, size, cells):  # type: ignore[no-untyped-def]
    """The first pixel of cell i, along an axis."""
    return i * size // cells


@inner
def _end(i, size, cells):  # type: ignore[no-untyped-def]
    """The first pixel behind cell i."""
    return ((i + 1) * size + cells - 1) // cells


@compiled
def _cells(g, x, y, r0, r1):  # type: ignore[no-untyped-def]
    """Rows r0 ... r1 - 1 of cells, counted over all images: the mean of their pixels."""
    for r in range(r0, r1):
        n, i = divmod(r, g.OH)
        h0, h1 = _first(i, g.H, g.OH), _end(i, g.H, g.OH)
        for j in range(g.OW):
            w0, w1 = _first(j, g.W, g.OW), _end(j, g.W, g.OW)
            start = (r * g.OW + j) * g.C
            cell = y[start : start + g.C]
            cell[:] = 0
            for h in range(h0, h1):
                for w in range(w0, w1):
                    start = ((n * g.H + h) * g.W + w) * g.C
                    add(x[start : start + g.C], cell)
            share = np.float32(1 / ((h1 - h0) * (w1 - w0)))
            for c in range(g.C):
                cell[c] *= share


@compiled
def _pixels(g, dy, dx, r0, r1):  # type: ignore[no-untyped-def]
    """Rows r0 ... r1 - 1 of pixels: to each comes a share of the gradient of every cell that it lies in."""
    for r in range(r0, r1):
        n, h = divmod(r, g.H)
        # They begin where the pixel lies by proportion, and end with the last cell that begins before its end.
        i0, i1 = _first(h, g.OH, g.H), _end(h, g.OH, g.H)
        for w in range(g.W):
            j0, j1 = _first(w, g.OW, g.W), _end(w, g.OW, g.W)
            start = (r * g.W + w) * g.C
            pixel = dx[start : start + g.C]
            pixel[:] = 0
            for i in range(i0, i1):
                for j in range(j0, j1):
                    rows = _end(i, g.H, g.OH) - _first(i, g.H, g.OH)
                    columns = _end(j, g.W, g.OW) - _first(j, g.W, g.OW)
                    share = np.float32(1 / (rows * columns))
                    start = ((n * g.OH + i) * g.OW + j) * g.C
                    gradient = dy[start : start + g.C]
                    for c in range(g.C):
                        pixel[c] += gradient[c] * share
