"""The linear layer on a CPU: three products with one large weight matrix, read once each.

Notation: N images, I inputs, O outputs. At batch 128 each weight that arrives from memory is used 128 times;
at batch 1 once, and reading it is all the work.
"""

from typing import Any

import numpy as np

from .. import reference
from ..reference import checks
from . import memory, threads
from .arrays import floats, gradient, has_kernel
from .elementwise import add_bias, copy
from .gemm import edge_buffer, multiply, multiply_turned, pack, pack_turned, packed_size
from .jit import compiled
from .simd import PANEL, ROWS

BLOCK = 256  # inputs at a time
COLUMNS = 512  # outputs at a time
CACHE = 1 << 17  # floats that stay in the second cache beside what streams through it
FEW = 4  # up to this many images, weights are streamed past them


def linear_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward(x, w, b, relu=False)


def linear_relu_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward(x, w, b, relu=True)


def _forward(x: Any, w: Any, b: Any | None, relu: bool) -> tuple[Any, Any]:
    if not has_kernel(x, w, b):
        y, saved = (reference.linear_relu_forward if relu else reference.linear_forward)(x, w, b)
        return y, ("reference", saved)
    N, O = checks.linear(x, w, b)
    x, w = floats(x), floats(w)
    I = x.shape[1]
    bias = np.zeros(O, np.float32) if b is None else floats(b)
    y = memory.empty((N, O))
    if N <= FEW:
        shares = threads.shares(I)
        parts = np.empty((len(shares), N, O), np.float32)
        threads.run(
            stream, [(x.ravel(), w.ravel(), parts[k].ravel(), N, I, O, i0, i1) for k, (i0, i1) in enumerate(shares)]
        )
        parts.sum(axis=0, out=y)
        y += bias
        if relu:
            np.maximum(y, 0, out=y)
    else:
        blocked = _blocked(x)
        threads.run(
            forward_columns,
            [
                (
                    blocked,
                    w.ravel(),
                    bias,
                    relu,
                    y.ravel(),
                    N,
                    I,
                    O,
                    o0,
                    o1,
                    memory.empty(BLOCK * COLUMNS),
                    edge_buffer(),
                )
                for o0, o1 in threads.shares(O, PANEL)
            ],
        )
    return y, ("cpu", x, w, b is not None, y if relu else None)


def linear_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.linear_backward(dy, saved[1], input_grad)
    _, x, w, has_bias, y = saved
    (N, I), O = x.shape, w.shape[1]
    dy = gradient("linear", dy, (N, O))
    if y is not None:
        dy = np.where(y <= 0, np.float32(0), dy)
    panels = memory.empty(packed_size(N, O))
    threads.run(pack, [(dy.ravel(), o0, O, N, o1 - o0, panels, o0 * N) for o0, o1 in threads.shares(O, PANEL)])
    dw = memory.empty((I, O))
    blocked = _blocked(x)
    threads.run(
        weight_gradient,
        [(blocked, panels, dw.ravel(), N, I, O, i0, i1, edge_buffer()) for i0, i1 in threads.shares(I, BLOCK)],
    )
    dx = None
    if input_grad:
        # dx' = w dy': w is read row by row, as it lies in memory.
        turned, padded = memory.empty(packed_size(O, N)), -(-N // PANEL) * PANEL
        threads.run(
            pack_turned, [(dy.ravel(), n0 * O, O, O, n1 - n0, turned, n0 * O) for n0, n1 in threads.shares(N, PANEL)]
        )
        dx_turned = memory.empty((I, padded))
        threads.run(
            input_gradient,
            [
                (w.ravel(), turned, dx_turned.ravel(), padded, O, i0, i1, edge_buffer())
                for i0, i1 in threads.shares(I, ROWS)
            ],
        )
        dx = memory.empty((N, I))
        dx[...] = dx_turned[:, :N].T
    return dx, dw, dy.sum(axis=0) if has_bias else None


def linear_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.linear_relu_backward(dy, saved[1], input_grad)
    return linear_backward(dy, saved, input_grad)


def _blocked(x: np.ndarray) -> np.ndarray:
    """x (N, I) as (I/BLOCK, N, BLOCK): rows of one power-of-two length apart would share a cache set."""
    N, I = x.shape
    blocks = -(-I // BLOCK)
    out = memory.empty(blocks * N * BLOCK)
    threads.run(block_rows, [(x.ravel(), N, I, out, b0, b1) for b0, b1 in threads.shares(blocks)])
    return out


@compiled
def block_rows(x, N, I, out, b0, b1):  # type: ignore[no-untyped-def]
    for b in range(b0, b1):
        for n in range(N):
            width = min(BLOCK, I - b * BLOCK)
            start = (b * N + n) * BLOCK
            copy(x[n * I + b * BLOCK : n * I + b * BLOCK + width], out[start : start + width])


@compiled
def stream(x, w, y, N, I, O, i0, i1):  # type: ignore[no-untyped-def]
    """y (N, O) = x[:, i0:i1] w[i0:i1], four rows of w at a time."""
    y[:] = 0
    whole = i0 + (i1 - i0) // 4 * 4
    for i in range(i0, whole, 4):
        w0, w1, w2, w3 = (
            w[i * O : (i + 1) * O],
            w[(i + 1) * O : (i + 2) * O],
            w[(i + 2) * O : (i + 3) * O],
            w[(i + 3) * O : (i + 4) * O],
        )
        for n in range(N):
            x0, x1, x2, x3 = x[n * I + i], x[n * I + i + 1], x[n * I + i + 2], x[n * I + i + 3]
            row = y[n * O : (n + 1) * O]
            for o in range(O):
                row[o] += x0 * w0[o] + x1 * w1[o] + x2 * w2[o] + x3 * w3[o]
    for i in range(whole, i1):
        last = w[i * O : (i + 1) * O]
        for n in range(N):
            row = y[n * O : (n + 1) * O]
            for o in range(O):
                row[o] += x[n * I + i] * last[o]


@compiled
def forward_columns(x, w, bias, relu, y, N, I, O, o0, o1, packed, edge):  # type: ignore[no-untyped-def]
    """y[:, o0:o1], a block of COLUMNS outputs and BLOCK inputs at a time."""
    for c0 in range(o0, o1, COLUMNS):
        c1 = min(c0 + COLUMNS, o1)
        for i in range(0, I, BLOCK):
            depth = min(BLOCK, I - i)
            pack(w, i * O + c0, O, depth, c1 - c0, packed, 0)
            multiply(x, i * N, BLOCK, packed, 0, depth * PANEL, PANEL, y, c0, O, N, c1 - c0, depth, i > 0, edge)
        for n in range(N):
            row = y[n * O + c0 : n * O + c1]
            add_bias(row, bias[c0:c1], relu, row)


@compiled
def weight_gradient(x, dy, dw, N, I, O, i0, i1, edge):  # type: ignore[no-untyped-def]
    """dw[i0:i1] = x' dy, a few rows at a time so that they are written from end to end."""
    for c0 in range(0, O, COLUMNS):
        width = min(COLUMNS, O - c0)
        for i in range(i0, i1, ROWS):
            rows = min(ROWS, i1 - i)
            # A block of BLOCK inputs does not divide into whole tiles: its last rows are a tile of their own.
            done = 0
            while done < rows:
                inside = (i + done) % BLOCK
                step = min(rows - done, BLOCK - inside)
                start = (i + done) // BLOCK * N * BLOCK + inside
                multiply_turned(
                    x, start, BLOCK, dy, c0 * N, N * PANEL, PANEL,
                    dw, (i + done) * O + c0, O, step, width, N, False, edge,
                )  # fmt: skip
                done += step


@compiled
def input_gradient(w, dy, dx, N, O, i0, i1, edge):  # type: ignore[no-untyped-def]
    """dx (I, N) = w dy', rows i0 ... i1 - 1; dy (N/PANEL, O, PANEL), N a multiple of PANEL."""
    block = max(BLOCK, CACHE // N)
    for k in range(0, O, block):
        depth = min(block, O - k)
        for i in range(i0, i1, ROWS):
            multiply(
                w, i * O + k, O, dy, k * PANEL, O * PANEL, PANEL,
                dx, i * N, N, min(ROWS, i1 - i), N, depth, k > 0, edge,
            )  # fmt: skip
