"""Convolution with fewer multiplications: Winograd's minimal filtering, forward and both gradients.

A tile of m x m outputs of an r x r convolution is computed from T x T inputs, T = m + r - 1, as

    Y = A' [ (G g G') . (B' d B) ] A            (. element by element)

with T*T multiplications instead of m*m*r*r: 49 instead of 225 for F(5, 3). Over all channels each of the
T*T positions becomes one matrix product, so that the algorithm is three linear maps around a batch of
products. For position x, tile t, channels c and o:

    forward     V[x, t, c] = B' d B      M[x, t, o] = V U       y = A' M A        with U[x, c, o] = G g G'
    backward    dM = A dy A'             dV = dM U'             dx = B dV B', overlapping tiles added
                                         dU = V' dM             dg = G' dU G

Backward is each map's transpose, in reverse order. docs/winograd.md derives all of it.

An inf, a NaN or an overflow in a tile makes all of the tile NaN, also outputs that do not see that pixel. So each pass
looks for numbers that are not finite, where that costs next to nothing, and says whether it has found one: conv.py then
computes by im2col, which keeps them where they belong. One channel of M or dV tells of a whole tile: products add up
all channels, and 0 times inf is NaN.

Sources: Winograd 1980; Lavin & Gray 2015 (Fast algorithms for convolutional neural networks).
"""

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from . import memory, pool, threads
from .elementwise import add, copy_pixels, copy_positive
from .gemm import edge_buffer, multiply, multiply_turned, pack
from .jit import compiled, inner
from .simd import LANES, PANEL, ROWS, move, sandwich, sandwich_relu

Matrix = list[list[Fraction]]

POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")]


def matrices(m: int, r: int) -> tuple[Matrix, Matrix, Matrix]:
    """A' (m, T), G (T, r), B' (T, T) of F(m, r), exactly, by Cook-Toom interpolation.

    The points are the first T - 1 of POINTS, and infinity.
    """
    points = POINTS[: m + r - 2]
    full = _product(points)  # M(x) = the product of all (x - p)
    transform_y = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    transform_g, transform_d = [], []
    for j, p in enumerate(points):
        others = _product(points[:j] + points[j + 1 :])  # M(x) / (x - p)
        scale = sum(c * p**k for k, c in enumerate(others))
        transform_g.append([p**k / scale for k in range(r)])
        transform_d.append([*others, Fraction(0)])
    transform_g.append([Fraction(k == r - 1) for k in range(r)])
    transform_d.append(full)
    return transform_y, transform_g, transform_d


def _product(points: list[Fraction]) -> list[Fraction]:
    """The coefficients of the product of all (x - p), constant first."""
    polynomial = [Fraction(1)]
    for p in points:
        shifted = [Fraction(0), *polynomial]
        polynomial = [s - p * c for s, c in zip(shifted, [*polynomial, Fraction(0)], strict=True)]
    return polynomial


def _transpose(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


# The two forms in use: F(5, 3) for 3x3 kernels, F(4, 5) for 5x5. AlexNet's maps divide well: 55 = 11 x 5 exactly,
# 27 = 7 x 4 - 1, 13 = 3 x 5 - 2.
_A3, _G3, _B3 = matrices(5, 3)
_A5, _G5, _B5 = matrices(4, 5)
OUTPUT_SIDE = {3: 5, 5: 4}
LARGEST = np.float32(1e30)

_b3, _b5 = sandwich(_B3), sandwich(_B5)
_a3, _a5 = sandwich_relu(_A3), sandwich_relu(_A5)
_g3, _g5 = sandwich(_G3), sandwich(_G5)
_b3_back, _b5_back = sandwich(_transpose(_B3), accumulate=True), sandwich(_transpose(_B5), accumulate=True)
_a3_back, _a5_back = sandwich(_transpose(_A3)), sandwich(_transpose(_A5))
_g3_back, _g5_back = sandwich(_transpose(_G3)), sandwich(_transpose(_G5))


def tiling(OH: int, OW: int, r: int) -> tuple[int, int, int, int]:
    """m, T, and how many tiles lie down and across an image of OH x OW outputs."""
    m = OUTPUT_SIDE[r]
    return m, m + r - 1, -(-OH // m), -(-OW // m)


class Plan(NamedTuple):
    """The geometry of one convolution of stride 1, in whole tiles.

    A convolution of stride S on few channels is one of stride 1 on S*S times as many (space to depth): then C
    and r are those of the latter, and the image is folded while it is copied.
    """

    r: int  # side of the kernel
    m: int  # side of a tile of outputs
    T: int  # side of a tile of inputs
    N: int
    H: int  # of x as it lies in memory
    W: int
    C: int
    OH: int
    OW: int
    O: int
    top: int  # padding
    left: int
    S: int
    TH: int  # tiles down and across an image
    TW: int
    block: int  # tiles that are worked on at a time
    v_step: int  # floats from one position of V to the next
    m_step: int  # and of M


# V and M of a block of tiles pass through the caches, and so does U, once a block. Measured: where U is small, blocks
# that nearly stay in the second cache are best, and where it is large, those with V and M half as large again as U.
SMALL_BLOCK = 2 << 20  # bytes
SMALL_U = 4 << 20
BLOCK_OF_U = 1.5


def plan(x_shape: tuple[int, ...], w_shape: tuple[int, ...], top: int, left: int, OH: int, OW: int, S: int) -> Plan:
    """For x (N, H, W, C/S/S) and w (r, r, C, O)."""
    N, H, W, _ = x_shape
    r, _, C, O = w_shape
    m, T, TH, TW = tiling(OH, OW, r)
    u_bytes, tile_bytes = 4 * T * T * C * O, 4 * T * T * (C + O)
    block_bytes = SMALL_BLOCK if u_bytes < SMALL_U else BLOCK_OF_U * u_bytes
    block = max(1, round(block_bytes / tile_bytes / ROWS)) * ROWS
    block = min(block, -(-N * TH * TW // ROWS) * ROWS)
    # One vector more than the tiles need: steps by a power of two would crowd a few sets of the cache.
    return Plan(r, m, T, N, H, W, C, OH, OW, O, top, left, S, TH, TW, block, block * C + LANES, block * O + LANES)


# ---- images to tiles and back
#
# Blocks of tiles follow each other from the first tile of an image on, through the same buffers: an image that
# reaches into the next block is still there.


@compiled
def spread_input(p, x, image, tiles, base, t0, t1, c0, c1):  # type: ignore[no-untyped-def]
    """V[., t - base, c] = B' d B for tiles t0 ... t1 - 1 (counted over all images) and channels c0 ... c1 - 1.

    ``image`` (HP, WP, C) is zero at the padding; tiles (T*T, block, C).
    """
    WP = p.TW * p.m + p.r - 1
    for t in range(t0, t1):
        n, ij = divmod(t, p.TH * p.TW)
        if ij == 0:
            if p.S == 1:
                _load_image(p, x, n, image, WP, c0, c1)
            else:
                _fold_image(p, x, n, image, WP)
        i, j = divmod(ij, p.TW)
        source, target, step = (i * p.m * WP + j * p.m) * p.C, (t - base) * p.C, p.v_step
        for c in range(c0, c1, LANES):
            if p.r == 3:
                _b3(image, source + c, WP * p.C, p.C, tiles, target + c, p.T * step, step)
            else:
                _b5(image, source + c, WP * p.C, p.C, tiles, target + c, p.T * step, step)


@compiled
def spread_gradient(p, q, dy, y, won, relu, image, tiles, db, base, t0, t1, o0, o1):  # type: ignore[no-untyped-def]
    """dM[., t - base, o] = A dy A', and db += the sum of dy. What of dy counts: see _load_gradient.

    ``image`` (TH*m, TW*m, O) is zero outside OH x OW.
    """
    WP = p.TW * p.m
    for t in range(t0, t1):
        n, ij = divmod(t, p.TH * p.TW)
        if ij == 0:
            _load_gradient(p, q, dy, y, won, relu, n, image, WP, db, o0, o1)
        i, j = divmod(ij, p.TW)
        source, target, step = (i * p.m * WP + j * p.m) * p.O, (t - base) * p.O, p.m_step
        for o in range(o0, o1, LANES):
            if p.r == 3:
                _a3_back(image, source + o, WP * p.O, p.O, tiles, target + o, p.T * step, step)
            else:
                _a5_back(image, source + o, WP * p.O, p.O, tiles, target + o, p.T * step, step)


@compiled
def collect_output(p, q, tiles, image, y, won, bias, relu, not_finite, base, t0, t1, o0, o1):  # type: ignore[no-untyped-def]
    """y = A' M A, plus bias, and relu of it where ``relu``, and the largest of each window where q has windows.

    ``image`` (TH*m, TW*m, O) holds one image's tiles. ``not_finite[0]`` is set where a tile is not.
    """
    WP = p.TW * p.m
    per_image = p.TH * p.TW
    for t in range(t0, t1):
        n, ij = divmod(t, per_image)
        i, j = divmod(ij, p.TW)
        target, source, step = (i * p.m * WP + j * p.m) * p.O, (t - base) * p.O, p.m_step
        if _is_not_finite(tiles[source + o0 : source + (p.T * p.T - 1) * step + o0 + 1 : step]):
            not_finite[0] = True
        for o in range(o0, o1, LANES):
            if p.r == 3:
                _a3(tiles, source + o, p.T * step, step, image, target + o, WP * p.O, p.O, bias, o, relu)
            else:
                _a5(tiles, source + o, p.T * step, step, image, target + o, WP * p.O, p.O, bias, o, relu)
        if ij == per_image - 1:
            for row in range(q.OH):
                outside = (n * q.OH + row) * q.OW * p.O
                if q.KH * q.KW == 1:
                    copy_pixels(image, row * WP * p.O, y, outside, p.OW, p.O, o0, o1)
                else:
                    pool.pool_row(q, image, 0, WP * p.O, row, y, won, outside, o0, o1)
                    if relu:
                        _disown(y, won, outside, q.OW, p.O, o0, o1)


@compiled
def collect_input_gradient(p, tiles, image, dx, not_finite, base, t0, t1, c0, c1):  # type: ignore[no-untyped-def]
    """dx = B dV B', overlapping tiles added. ``image`` (HP, WP, C) gathers one image.

    ``not_finite``: see collect_output.
    """
    WP = p.TW * p.m + p.r - 1
    per_image = p.TH * p.TW
    for t in range(t0, t1):
        n, ij = divmod(t, per_image)
        if ij == 0:
            for pixel in range((p.TH * p.m + p.r - 1) * WP):
                image[pixel * p.C + c0 : pixel * p.C + c1] = 0
        i, j = divmod(ij, p.TW)
        target, source, step = (i * p.m * WP + j * p.m) * p.C, (t - base) * p.C, p.v_step
        if _is_not_finite(tiles[source + c0 : source + (p.T * p.T - 1) * step + c0 + 1 : step]):
            not_finite[0] = True
        for c in range(c0, c1, LANES):
            if p.r == 3:
                _b3_back(tiles, source + c, p.T * step, step, image, target + c, WP * p.C, p.C)
            else:
                _b5_back(tiles, source + c, p.T * step, step, image, target + c, WP * p.C, p.C)
        if ij == per_image - 1:
            for row in range(p.H):
                inside, outside = ((row + p.top) * WP + p.left) * p.C, (n * p.H + row) * p.W * p.C
                copy_pixels(image, inside, dx, outside, p.W, p.C, c0, c1)


@inner
def _is_not_finite(values):  # type: ignore[no-untyped-def]
    """Whether any of them is inf or NaN, or so large that a transform of it may be."""
    found = False
    for i in range(values.size):
        found |= not (abs(values[i]) < LARGEST)
    return found


@inner
def _load_image(p, x, n, image, WP, c0, c1):  # type: ignore[no-untyped-def]
    for row in range(p.H):
        inside, outside = ((row + p.top) * WP + p.left) * p.C, (n * p.H + row) * p.W * p.C
        copy_pixels(x, outside, image, inside, p.W, p.C, c0, c1)


@compiled
def _fold_image(p, x, n, image, WP):  # type: ignore[no-untyped-def]
    """Space to depth: image[I, J, (du, dv, c)] = x[n, I*S + du - top, J*S + dv - left, c], zero outside."""
    raw = p.C // (p.S * p.S)
    run = p.S * raw  # consecutive floats in x and in image
    length = p.W * raw
    # Columns whose run is inside the image, with a whole panel to move: what a panel is longer than the run is
    # written over by the runs that follow.
    J0 = -(-p.left // p.S)
    J1 = (length + p.left * raw - PANEL) // run + 1 if run <= PANEL else J0
    for row in range(p.TH * p.m + p.r - 1):
        if row == p.TH * p.m + p.r - 2:
            J1 = min(J1, WP - PANEL // run - 1)  # nothing follows the last row
        for J in range(WP):
            for du in range(p.S):
                i = row * p.S + du - p.top
                target = (row * WP + J) * p.C + du * run
                first = J * run - p.left * raw
                source = (n * p.H + i) * length + first
                if i < 0 or i >= p.H:
                    image[target : target + run] = 0
                elif J0 <= J < J1:
                    move(x, source, image, target)
                else:
                    for e in range(run):
                        image[target + e] = x[source + e] if 0 <= first + e < length else np.float32(0)


@inner
def _disown(y, won, start, pixels, O, o0, o1):  # type: ignore[no-untyped-def]
    """Where the largest pixel is not positive, the ReLU passes nothing back: nobody won."""
    for first in range(start, start + pixels * O, O):
        highest, place = y[first + o0 : first + o1], won[first + o0 : first + o1]
        for o in range(o1 - o0):
            place[o] = np.uint8(pool.NOBODY) if highest[o] <= 0 else place[o]


@inner
def _load_gradient(p, q, dy, y, won, relu, n, image, WP, db, o0, o1):  # type: ignore[no-untyped-def]
    """dy as it is; or, after a ReLU, 0 where y <= 0; or, behind pooling, what each pixel won."""
    for row in range(p.OH):
        outside, inside = (n * p.OH + row) * p.OW * p.O, row * WP * p.O
        if q.KH * q.KW > 1:
            pool.gather_row(q, dy, won, n, row, image, inside, o0, o1)
        elif not relu:
            copy_pixels(dy, outside, image, inside, p.OW, p.O, o0, o1)
        elif o1 - o0 == p.O:
            end = p.OW * p.O
            copy_positive(dy[outside : outside + end], y[outside : outside + end], image[inside : inside + end])
        else:
            for e in range(0, p.OW * p.O, p.O):
                start, end = outside + e + o0, outside + e + o1
                copy_positive(dy[start:end], y[start:end], image[inside + e + o0 : inside + e + o1])
        for column in range(p.OW):
            add(image[inside + column * p.O + o0 : inside + column * p.O + o1], db[o0:o1])


# ---- filters


@compiled
def transform_filter(r, w, C, O, u, not_finite, c0, c1):  # type: ignore[no-untyped-def]
    """U = G g G' for input channels c0 ... c1 - 1: w (r, r, C, O) -> u (T*T, O/PANEL, C, PANEL), for multiply.

    ``not_finite[0]`` is set where w is not.
    """
    step = C * O
    for c in range(c0, c1):
        for tap in range(r * r):
            if _is_not_finite(w[tap * step + c * O : tap * step + (c + 1) * O]):
                not_finite[0] = True
        for o in range(0, O, LANES):
            target = (o // PANEL * C + c) * PANEL + o % PANEL
            if r == 3:
                _g3(w, c * O + o, 3 * step, step, u, target, 7 * step, step)
            else:
                _g5(w, c * O + o, 5 * step, step, u, target, 8 * step, step)


@compiled
def turn_filter(w, C, O, taps, turned, o0, o1):  # type: ignore[no-untyped-def]
    """w (taps, C, O) -> turned (taps, O, C), for output channels o0 ... o1 - 1."""
    for tap in range(taps):
        for c in range(C):
            start = (tap * C + c) * O
            row, column = w[start + o0 : start + o1], turned[(tap * O + o0) * C + c :: C]
            for o in range(row.size):
                column[o] = row[o]


@compiled
def collect_filter_gradient(r, parts, du, C, O, dw, not_finite, c0, c1):  # type: ignore[no-untyped-def]
    """dw = G' dU G for input channels c0 ... c1 - 1, dU being the sum of ``parts`` arrays (T*T, C, O) in du.

    ``not_finite[0]`` is set where dw is not.
    """
    step = C * O
    T = 7 if r == 3 else 8
    for part in range(1, parts):
        for position in range(T * T):
            start, other = position * step, (part * T * T + position) * step
            add(du[other + c0 * O : other + c1 * O], du[start + c0 * O : start + c1 * O])
    for c in range(c0, c1):
        for o in range(0, O, LANES):
            if r == 3:
                _g3_back(du, c * O + o, T * step, step, dw, c * O + o, 3 * step, step)
            else:
                _g5_back(du, c * O + o, T * step, step, dw, c * O + o, 5 * step, step)
        for tap in range(r * r):
            if _is_not_finite(dw[tap * step + c * O : tap * step + (c + 1) * O]):
                not_finite[0] = True


# ---- products, for positions q0 ... q1 - 1 of the T*T


@compiled
def products(v, v_step, u, m, m_step, tiles, C, O, q0, q1, edge):  # type: ignore[no-untyped-def]
    """M = V U. Also dV = dM U', with C and O exchanged."""
    for q in range(q0, q1):
        multiply(
            v, q * v_step, C, u, q * C * O, C * PANEL, PANEL,
            m, q * m_step, O, tiles, O, C, False, edge,
        )  # fmt: skip


@compiled
def products_turned(p, v, dm, du, tiles, q0, q1, add, panels, edge):  # type: ignore[no-untyped-def]
    """dU (+)= V' dM. ``panels`` (block*O floats) takes dM, laid together, where a panel of it is read often enough."""
    for q in range(q0, q1):
        source, first, panel, row = dm, q * p.m_step, PANEL, p.O
        if p.C > 8 * ROWS:
            pack(dm, q * p.m_step, p.O, tiles, p.O, panels, 0)
            source, first, panel, row = panels, 0, tiles * PANEL, PANEL
        multiply_turned(
            v, q * p.v_step, p.C, source, first, panel, row,
            du, q * p.C * p.O, p.O, p.C, p.O, tiles, add, edge,
        )  # fmt: skip


# ---- the launchers


class _Workspace:
    """Buffers for the tiles of a block, and for one image at a time."""

    def __init__(self, p: Plan, backward: bool) -> None:
        positions = p.T * p.T
        self.v = memory.empty(positions * p.v_step)
        self.m = memory.empty(positions * p.m_step)
        # Padding is never written; folding writes all of an image.
        self.image = (memory.zeros if p.S == 1 else memory.empty)((p.TH * p.m + p.r - 1) * (p.TW * p.m + p.r - 1) * p.C)
        self.output = (memory.zeros if backward else memory.empty)(p.TH * p.m * p.TW * p.m * p.O)
        self.dx_image = memory.empty(self.image.size if backward else 0)
        self.panels = memory.empty(p.block * p.O if backward else 0)
        self.edge = edge_buffer()


def forward(
    p: Plan, x: np.ndarray, w: np.ndarray, b: np.ndarray, relu: bool, windows: pool.Plan | None = None
) -> tuple[np.ndarray, np.ndarray] | None:
    """y (N, OH, OW, O) for x as Plan says, w (r, r, C, O) and b (O,); relu(y) where ``relu``; then the pooling's.

    With it comes what the pooling's gradient needs (empty without one). None where it met inf or NaN.
    """
    q = windows or _each_pixel(p)
    not_finite = np.zeros(1, np.bool_)
    u = _filters(p, w.ravel(), not_finite)
    shape = (p.N, q.OH, q.OW, p.O)
    y, winners = memory.empty(shape), memory.empty(shape if windows else 0, np.uint8)
    x, flat, won = x.ravel(), y.ravel(), winners.ravel()
    positions = p.T * p.T

    def apart(n0: int, n1: int) -> None:
        s = _Workspace(p, backward=False)
        for t0, t1 in _blocks(p, n0, n1):
            spread_input(p, x, s.image, s.v, t0, t0, t1, 0, p.C)
            products(s.v, p.v_step, u, s.m, p.m_step, t1 - t0, p.C, p.O, 0, positions, s.edge)
            collect_output(p, q, s.m, s.output, flat, won, b, relu, not_finite, t0, t0, t1, 0, p.O)

    if _apart(p):
        threads.run(apart, threads.shares(p.N))
        return None if not_finite[0] else (y, winners)
    team = [_Workspace(p, backward=False) for _ in range(threads.NUM_THREADS)]
    v, m = team[0].v, team[0].m
    shares = list(zip(team, threads.shares(positions), strict=False))
    for t0, t1 in _blocks(p, 0, p.N):
        inputs, outputs = _pieces(p, team, t0, t1, p.C, p.S > 1), _pieces(p, team, t0, t1, p.O)
        threads.run(spread_input, [(p, x, s.image, v, t0, *piece) for s, piece in inputs])
        threads.run(products, [(v, p.v_step, u, m, p.m_step, t1 - t0, p.C, p.O, *piece, s.edge) for s, piece in shares])
        tasks = [(p, q, m, s.output, flat, won, b, relu, not_finite, t0, *piece) for s, piece in outputs]
        threads.run(collect_output, tasks)
    return None if not_finite[0] else (y, winners)


def backward(
    p: Plan,
    x: np.ndarray,
    w: np.ndarray,
    dy: np.ndarray,
    y: np.ndarray | None,
    input_grad: bool,
    windows: pool.Plan | None = None,
    winners: np.ndarray | None = None,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray] | None:
    """dx (N, H, W, C), dw (r, r, C, O), db (O,). None where it met inf or NaN.

    Where y is given, forward ended in a ReLU that gave y; where ``windows``, in a pooling that gave ``winners``.
    """
    not_finite = np.zeros(1, np.bool_)
    q, won = windows or _each_pixel(p), np.empty(0, np.uint8) if winners is None else winners.ravel()
    turned = _filters_turned(p, w.ravel(), not_finite) if input_grad else memory.empty(0)
    dx = memory.empty((p.N, p.H, p.W, p.C)) if input_grad else memory.empty(0)
    db = np.zeros((threads.NUM_THREADS, p.O), np.float32)
    x, dy, flat = x.ravel(), dy.ravel(), dx.ravel()
    relu, mask = y is not None, dy if y is None else y.ravel()
    positions = p.T * p.T
    parts = len(threads.shares(p.N)) if _apart(p) else 1
    du = memory.empty((parts, positions * p.C * p.O))

    def apart(part: int, n0: int, n1: int) -> None:
        s = _Workspace(p, backward=True)
        for number, (t0, t1) in enumerate(_blocks(p, n0, n1)):
            spread_gradient(p, q, dy, mask, won, relu, s.output, s.m, db[part], t0, t0, t1, 0, p.O)
            spread_input(p, x, s.image, s.v, t0, t0, t1, 0, p.C)
            products_turned(p, s.v, s.m, du[part], t1 - t0, 0, positions, number > 0, s.panels, s.edge)
            if input_grad:
                products(s.m, p.m_step, turned, s.v, p.v_step, t1 - t0, p.O, p.C, 0, positions, s.edge)
                collect_input_gradient(p, s.v, s.dx_image, flat, not_finite, t0, t0, t1, 0, p.C)

    def together() -> None:
        team = [_Workspace(p, backward=True) for _ in range(threads.NUM_THREADS)]
        v, m = team[0].v, team[0].m
        shares = list(zip(team, threads.shares(positions), strict=False))
        for number, (t0, t1) in enumerate(_blocks(p, 0, p.N)):
            outputs, inputs = _pieces(p, team, t0, t1, p.O), _pieces(p, team, t0, t1, p.C, p.S > 1)
            tasks = [
                (p, q, dy, mask, won, relu, s.output, m, db[k], t0, *piece) for k, (s, piece) in enumerate(outputs)
            ]
            threads.run(spread_gradient, tasks)
            threads.run(spread_input, [(p, x, s.image, v, t0, *piece) for s, piece in inputs])
            threads.run(
                products_turned,
                [(p, v, m, du[0], t1 - t0, *piece, number > 0, s.panels, s.edge) for s, piece in shares],
            )
            if input_grad:
                threads.run(
                    products,
                    [(m, p.m_step, turned, v, p.v_step, t1 - t0, p.O, p.C, *piece, s.edge) for s, piece in shares],
                )
                threads.run(
                    collect_input_gradient, [(p, v, s.dx_image, flat, not_finite, t0, *piece) for s, piece in inputs]
                )

    if _apart(p):
        threads.run(apart, [(part, n0, n1) for part, (n0, n1) in enumerate(threads.shares(p.N))])
    else:
        together()
    dw = memory.empty((p.r, p.r, p.C, p.O))
    tasks = [(p.r, parts, du.ravel(), p.C, p.O, dw.ravel(), not_finite, c0, c1) for c0, c1 in threads.shares(p.C)]
    threads.run(collect_filter_gradient, tasks)
    return None if not_finite[0] else ((dx if input_grad else None), dw, db.sum(axis=0))


def _each_pixel(p: Plan) -> pool.Plan:
    """No pooling: windows of one pixel."""
    return pool.Plan(p.OH, p.OW, p.O, 1, 1, 1, 1, 0, 0, p.OH, p.OW)


def _apart(p: Plan) -> bool:
    """Whether each thread takes images of its own from beginning to end.

    Else all work on the same block, step by step, and U is read and dU written by one thread each: for few images.
    """
    tiles = p.N * p.TH * p.TW
    return p.N >= threads.NUM_THREADS and tiles > p.block


def _blocks(p: Plan, n0: int, n1: int) -> list[tuple[int, int]]:
    """The tiles of images n0 ... n1 - 1, a block at a time."""
    t0, t1 = n0 * p.TH * p.TW, n1 * p.TH * p.TW
    return [(t, min(t + p.block, t1)) for t in range(t0, t1, p.block)]


def _pieces(
    p: Plan, team: list[_Workspace], t0: int, t1: int, channels: int, undivided: bool = False
) -> list[tuple[_Workspace, tuple[int, int, int, int]]]:
    """(t0, t1, c0, c1) for each thread of a team: images of its own, or channels where these are too few.

    ``undivided``: only whole images, for folding fills all channels of a pixel.
    """
    per_image = p.TH * p.TW
    if p.N >= threads.NUM_THREADS:
        pieces = [(n0 * per_image, n1 * per_image, 0, channels) for n0, n1 in threads.shares(p.N)]
    elif undivided:
        pieces = [(t0, t1, 0, channels)]
    else:
        pieces = [(t0, t1, c0, c1) for c0, c1 in threads.shares(channels, LANES)]
    return list(zip(team, pieces, strict=False))


def _filters(p: Plan, w: np.ndarray, not_finite: np.ndarray) -> np.ndarray:
    u = memory.empty(p.T * p.T * p.C * p.O)
    threads.run(transform_filter, [(p.r, w, p.C, p.O, u, not_finite, c0, c1) for c0, c1 in threads.shares(p.C)])
    return u


def _filters_turned(p: Plan, w: np.ndarray, not_finite: np.ndarray) -> np.ndarray:
    """U' packed for products: the transform of each filter with its channels exchanged."""
    turned, u = memory.empty(w.size), memory.empty(p.T * p.T * p.C * p.O)
    threads.run(turn_filter, [(w, p.C, p.O, p.r * p.r, turned, o0, o1) for o0, o1 in threads.shares(p.O)])
    threads.run(transform_filter, [(p.r, turned, p.O, p.C, u, not_finite, o0, o1) for o0, o1 in threads.shares(p.O)])
    return u
