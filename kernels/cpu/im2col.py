"""Convolution by im2col and matrix products, for any stride, padding and groups: the reference algorithm, blocked.

Columns are built for a strip of output pixels and some rows of the kernel at a time, in a buffer of the thread's own,
and used while they are in its cache.
"""

from typing import Any, NamedTuple

import numpy as np

from . import memory, threads
from .elementwise import add_bias, copy, copy_positive
from .gemm import edge_buffer, multiply, multiply_turned, pack, pack_turned, packed_size
from .jit import compiled
from .simd import PANEL, ROWS

STRIP_BYTES = 1 << 19
K_BLOCK = 1024  # rows of the weights at a time
FEW_PIXELS = 4096  # too few to make up for packing the weights


class Plan(NamedTuple):
    """The geometry of one convolution."""

    N: int
    H: int
    W: int
    C: int
    KH: int
    KW: int
    SH: int
    SW: int
    top: int
    left: int
    OH: int
    OW: int
    O: int
    G: int


@compiled
def columns(p, x, r0, r1, u0, u1, c0, c1, cols):  # type: ignore[no-untyped-def]
    """cols (r1 - r0, u1 - u0, KW, c1 - c0): rows u0 ... u1 - 1 of the windows of output pixels r0 ... r1 - 1."""
    depth = c1 - c0
    run = p.KW * depth
    for r in range(r0, r1):
        n, ij = divmod(r, p.OH * p.OW)
        i, j = divmod(ij, p.OW)
        first = j * p.SW - p.left
        for u in range(u0, u1):
            row = i * p.SH + u - p.top
            target = ((r - r0) * (u1 - u0) + u - u0) * run
            if row < 0 or row >= p.H:
                cols[target : target + run] = 0
                continue
            source = ((n * p.H + row) * p.W + first) * p.C + c0
            if depth == p.C and first >= 0 and first + p.KW <= p.W:
                copy(x[source : source + run], cols[target : target + run])
                continue
            for v in range(p.KW):
                pixel = cols[target + v * depth : target + (v + 1) * depth]
                if 0 <= first + v < p.W:
                    copy(x[source + v * p.C : source + v * p.C + depth], pixel)
                else:
                    pixel[:] = 0


@compiled
def add_columns(p, cols, r0, r1, c0, c1, dx):  # type: ignore[no-untyped-def]
    """Add every column back to the pixels that it was copied from: columns' transpose."""
    depth = c1 - c0
    for r in range(r0, r1):
        n, ij = divmod(r, p.OH * p.OW)
        i, j = divmod(ij, p.OW)
        for u in range(p.KH):
            row = i * p.SH + u - p.top
            if row < 0 or row >= p.H:
                continue
            for v in range(p.KW):
                column = j * p.SW + v - p.left
                if column < 0 or column >= p.W:
                    continue
                source = (((r - r0) * p.KH + u) * p.KW + v) * depth
                target = ((n * p.H + row) * p.W + column) * p.C + c0
                pixel, copied = dx[target : target + depth], cols[source : source + depth]
                for c in range(depth):
                    pixel[c] += copied[c]


@compiled
def forward_pixels(p, x, w, group, panel, ldb, bias, relu, y, r0, r1, strip, rows, cols, edge):  # type: ignore[no-untyped-def]
    """y for output pixels r0 ... r1 - 1, ``strip`` of them and ``rows`` rows of the kernel at a time.

    ``w``: the weights of a group every ``group`` floats; panel, ldb: see gemm.
    """
    depth, width = p.C // p.G, p.O // p.G
    run = p.KW * depth
    for s0 in range(r0, r1, strip):
        s1 = min(s0 + strip, r1)
        for g in range(p.G):
            for u0 in range(0, p.KH, rows):
                u1 = min(u0 + rows, p.KH)
                K = (u1 - u0) * run
                columns(p, x, s0, s1, u0, u1, g * depth, (g + 1) * depth, cols)
                multiply(
                    cols, 0, K, w, g * group + u0 * run * ldb, panel, ldb,
                    y, s0 * p.O + g * width, p.O, s1 - s0, width, K, u0 > 0, edge,
                )  # fmt: skip
        for r in range(s0, s1):
            pixel = y[r * p.O : (r + 1) * p.O]
            add_bias(pixel, bias, relu, pixel)


@compiled
def backward_images(p, x, dy, y, relu, turned, dw, db, dx, want_dx, n0, n1, c0, c1, strip, cols, grad, panels, edge):  # type: ignore[no-untyped-def]
    """For images n0 ... n1 - 1 and channels c0 ... c1 - 1 of each group: dw (G, KH*KW*(c1-c0), O/G), db, and dx.

    ``turned``: the transposed weights of each group for these channels, in panels.
    """
    depth, width = p.C // p.G, p.O // p.G
    span = c1 - c0
    K = p.KH * p.KW * span
    size = -(-K // PANEL) * PANEL * width
    if want_dx:
        for pixel in range(n0 * p.H * p.W, n1 * p.H * p.W):
            for g in range(p.G):
                start = pixel * p.C + g * depth
                dx[start + c0 : start + c1] = 0
    begin = n0 * p.OH * p.OW
    for s0 in range(begin, n1 * p.OH * p.OW, strip):
        s1 = min(s0 + strip, n1 * p.OH * p.OW)
        for r in range(s0, s1):
            pixel = grad[(r - s0) * p.O : (r - s0 + 1) * p.O]
            if relu:
                copy_positive(dy[r * p.O : (r + 1) * p.O], y[r * p.O : (r + 1) * p.O], pixel)
            else:
                copy(dy[r * p.O : (r + 1) * p.O], pixel)
            for o in range(p.O):
                db[o] += pixel[o]
        for g in range(p.G):
            first = g * depth + c0
            columns(p, x, s0, s1, 0, p.KH, first, first + span, cols)
            pack(grad, g * width, p.O, s1 - s0, width, panels, 0)
            multiply_turned(
                cols, 0, K, panels, 0, (s1 - s0) * PANEL, PANEL,
                dw, g * K * width, width, K, width, s1 - s0, s0 > begin, edge,
            )  # fmt: skip
            if want_dx:
                multiply(
                    grad, g * width, p.O, turned, g * size, width * PANEL, PANEL,
                    cols, 0, K, s1 - s0, K, width, False, edge,
                )  # fmt: skip
                add_columns(p, cols, s0, s1, first, first + span, dx)


def forward(p: Plan, x: np.ndarray, w: np.ndarray, b: np.ndarray, relu: bool) -> np.ndarray:
    """y (N, OH, OW, O) for x (N, H, W, C), w (KH, KW, C/G, O), b (O,)."""
    width, K = p.O // p.G, p.KH * p.KW * (p.C // p.G)
    pixels = p.N * p.OH * p.OW
    flat = w.ravel()
    if width % PANEL == 0 and pixels < FEW_PIXELS:
        weights = (flat, width, PANEL, p.O)
    else:
        size = packed_size(K, width)
        weights = (memory.empty(p.G * size), size, K * PANEL, PANEL)
        packing = [(flat, g * width + o0, p.O, K, o1 - o0, weights[0], g * size + o0 * K)
                 for g in range(p.G) for o0, o1 in threads.shares(width, PANEL)]  # fmt: skip
        threads.run(pack, packing)
    y = memory.empty((p.N, p.OH, p.OW, p.O))
    run = K // p.KH
    rows = min(p.KH, max(1, K_BLOCK // run))
    tasks: list[tuple[Any, ...]] = []
    for r0, r1 in threads.shares(pixels, ROWS):
        strip = _strip(rows * run, r1 - r0)
        cols = memory.empty(strip * rows * run)
        tasks.append((p, x.ravel(), *weights, b, relu, y.ravel(), r0, r1, strip, rows, cols, edge_buffer()))
    threads.run(forward_pixels, tasks)
    return y


def backward(
    p: Plan, x: np.ndarray, w: np.ndarray, dy: np.ndarray, y: np.ndarray | None, input_grad: bool
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """dx, dw, db. Where y is given, forward ended in a ReLU that gave y.

    Threads take images, or channels where there are fewer images than threads.
    """
    relu = y is not None
    depth, width = p.C // p.G, p.O // p.G
    by_image = p.N >= threads.NUM_THREADS
    images = threads.shares(p.N) if by_image else [(0, p.N)]
    channels = [(0, depth)] if by_image else threads.shares(depth)
    dx = memory.empty((p.N, p.H, p.W, p.C)) if input_grad else None
    masks = dy if y is None else y
    tasks, dws, dbs = [], [], []
    for c0, c1 in channels:
        K = p.KH * p.KW * (c1 - c0)
        turned = _turned(p, w[:, :, c0:c1]) if input_grad else np.empty(0, np.float32)
        for n0, n1 in images:
            strip = _strip(K, (n1 - n0) * p.OH * p.OW)
            dws.append(memory.empty((p.G, p.KH, p.KW, c1 - c0, width)))
            dbs.append(np.zeros(p.O, np.float32))
            outputs = (dws[-1].ravel(), dbs[-1], turned if dx is None else dx.ravel())
            buffers = (memory.empty(strip * K), memory.empty(strip * p.O), memory.empty(packed_size(strip, width)))
            tasks.append(
                (
                    p,
                    x.ravel(),
                    dy.ravel(),
                    masks.ravel(),
                    relu,
                    turned,
                    *outputs,
                    input_grad,
                    n0,
                    n1,
                    c0,
                    c1,
                    strip,
                    *buffers,
                    edge_buffer(),
                )
            )
    threads.run(backward_images, tasks)
    grouped = np.add.reduce(dws) if by_image else np.concatenate(dws, axis=3)  # (G, KH, KW, C/G, O/G)
    dw = np.ascontiguousarray(np.moveaxis(grouped, 0, 3)).reshape(w.shape)
    return dx, dw, sum(dbs[1:], dbs[0]) if by_image else dbs[0]


def _turned(p: Plan, w: np.ndarray) -> np.ndarray:
    """For each group, w' (O/G, KH*KW*depth) in panels."""
    width, K = p.O // p.G, w.shape[0] * w.shape[1] * w.shape[2]
    size = packed_size(width, K)
    packed, flat = memory.empty(p.G * size), np.ascontiguousarray(w).ravel()
    tasks = [(flat, g * width + k0 * p.O, p.O, width, k1 - k0, packed, g * size + k0 * width)
             for g in range(p.G) for k0, k1 in threads.shares(K, PANEL)]  # fmt: skip
    threads.run(pack_turned, tasks)
    return packed


def _strip(K: int, pixels: int) -> int:
    """How many output pixels at a time, for columns of K floats: equal strips of whole tiles."""
    most = max(1, STRIP_BYTES // (4 * K * ROWS)) * ROWS
    strips = max(1, -(-pixels // most))
    return -(-pixels // strips // ROWS) * ROWS
