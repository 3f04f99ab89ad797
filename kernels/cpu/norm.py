"""Local response normalisation on a CPU: first the terms of the sums, everywhere, then the sums over the windows."""

from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..reference import checks
from . import memory, threads
from .arrays import floats, gradient, has_kernel
from .elementwise import add
from .jit import compiled, inner


class Window(NamedTuple):
    """What one value sees: before ... after around it, along the axes of the image or along the group's channels."""

    H: int
    W: int
    C: int
    group: int  # channels
    space: bool
    before: int
    after: int


def local_response_norm_forward(
    x: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_alpha: bool = True,
    across: str = "channels",
    groups: int = 1,
) -> tuple[Any, Any]:
    """See the reference book."""
    if not has_kernel(x):
        y, saved = reference.local_response_norm_forward(x, size, alpha, beta, k, divide_alpha, across, groups)
        return y, ("reference", saved)
    N, H, W, C = checks.images("local_response_norm", x, groups)
    axes, group = {"channels": 1, "space": 2}[across], C // groups
    window = Window(H, W, C, group, axes == 2, size // 2, (size - 1) // 2)
    a = np.float32(alpha / size**axes if divide_alpha else alpha)
    x, exponent = floats(x), np.float32(beta)
    squares, s, y = (memory.empty(x.shape) for _ in range(3))
    _everywhere(_squares, x, squares)
    flat = (x.ravel(), squares.ravel(), s.ravel(), y.ravel())
    threads.run(_forward, [(window, *flat, a, exponent, np.float32(k), r0, r1) for r0, r1 in threads.shares(N * H)])
    return y, ("cpu", x, s, window, a, exponent)


def local_response_norm_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.local_response_norm_backward(dy, saved[1])
    _, x, s, window, a, beta = saved
    dy = gradient("local_response_norm", dy, x.shape)
    dx, terms = memory.empty(x.shape), memory.empty(x.shape)
    _everywhere(_terms, dy, x, s, terms, beta=beta)
    turned = window._replace(before=window.after, after=window.before)  # the windows that hold a value
    flat = (dy.ravel(), x.ravel(), s.ravel(), terms.ravel(), dx.ravel())
    shares = threads.shares(x.shape[0] * window.H)
    threads.run(_backward, [(turned, *flat, a, beta, r0, r1) for r0, r1 in shares])
    return dx


def _everywhere(function: Any, *arrays: np.ndarray, **constants: np.float32) -> None:
    """An element at a time, each thread on its share."""
    flat = [array.ravel() for array in arrays]
    parts = [[array[e0:e1] for array in flat] for e0, e1 in threads.shares(flat[0].size)]
    threads.run(function, [(*part, *constants.values()) for part in parts])


@inner
def _power(s, beta):  # type: ignore[no-untyped-def]
    """s^-beta. AlexNet's 3/4 by two roots, which are vector instructions."""
    root = np.sqrt(s)
    return np.float32(1) / (root * np.sqrt(root)) if beta == np.float32(0.75) else s**-beta


@inner
def _sum(g, values, r, w, total):  # type: ignore[no-untyped-def]
    """The sum over the window around pixel w of row r, counted over all images, for each channel."""
    total[:] = 0
    if g.space:
        h = r % g.H
        for i in range(max(0, h - g.before), min(g.H, h + g.after + 1)):
            for j in range(max(0, w - g.before), min(g.W, w + g.after + 1)):
                start = ((r - h + i) * g.W + j) * g.C
                add(values[start : start + g.C], total)
    else:
        pixel = (r * g.W + w) * g.C
        for c0 in range(0, g.C, g.group):
            start = pixel + c0
            for d in range(max(-g.before, 1 - g.group), min(g.after, g.group - 1) + 1):
                # Those that have a neighbour d channels away, and these.
                first, last = max(0, -d), g.group - max(0, d)
                add(values[start + first + d : start + last + d], total[c0 + first : c0 + last])


@compiled
def _squares(x, squares):  # type: ignore[no-untyped-def]
    for e in range(x.size):
        squares[e] = x[e] * x[e]


@compiled
def _forward(g, x, squares, s, y, a, beta, k, r0, r1):  # type: ignore[no-untyped-def]
    """Rows r0 ... r1 - 1, counted over all images."""
    for r in range(r0, r1):
        for w in range(g.W):
            start = (r * g.W + w) * g.C
            source, sums, target = x[start : start + g.C], s[start : start + g.C], y[start : start + g.C]
            _sum(g, squares, r, w, sums)
            for c in range(g.C):
                sums[c] = k + a * sums[c]
                target[c] = source[c] * _power(sums[c], beta)


@compiled
def _terms(dy, x, s, terms, beta):  # type: ignore[no-untyped-def]
    """dy x s^(-beta - 1)"""
    for e in range(x.size):
        terms[e] = dy[e] * x[e] * _power(s[e], beta) / s[e]


@compiled
def _backward(g, dy, x, s, terms, dx, a, beta, r0, r1):  # type: ignore[no-untyped-def]
    """Rows r0 ... r1 - 1, counted over all images."""
    twice = np.float32(2) * a * beta
    for r in range(r0, r1):
        for w in range(g.W):
            start = (r * g.W + w) * g.C
            gradient, source, sums = dy[start : start + g.C], x[start : start + g.C], s[start : start + g.C]
            target = dx[start : start + g.C]
            _sum(g, terms, r, w, target)
            for c in range(g.C):
                target[c] = gradient[c] * _power(sums[c], beta) - twice * source[c] * target[c]
