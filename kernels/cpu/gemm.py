"""Matrix products, blocked for the registers and caches of one core.

    multiply         C (+)= A  B          A row by row
    multiply_turned  C (+)= A' B          for gradients of weights

All matrices are row-major pieces of flat float32 arrays: X[i, j] = x[x0 + i*ldx + j]. B is walked in
panels of PANEL columns: panel p begins at b[b0 + p*panel] and its rows are ldb apart. That covers a
packed B (panel = K*PANEL, ldb = PANEL; see pack) and a plain one (panel = PANEL, ldb = its row length).

The caller blocks K and the rows of A, so that a panel of B stays in the first cache (32 KB: K up to 256
or so) and a block of A in the second.
"""

from typing import Any

import numpy as np

from .elementwise import copy
from .jit import compiled, inner
from .simd import PANEL, ROWS, move, tile

_tile, _tile_4, _tile_1 = tile(ROWS), tile(4), tile(1)
_turned, _turned_4, _turned_1 = tile(ROWS, transposed=True), tile(4, transposed=True), tile(1, transposed=True)


@compiled
def multiply(
    a: Any, a0: int, lda: int, b: Any, b0: int, panel: int, ldb: int, c: Any, c0: int, ldc: int,
    M: int, N: int, K: int, add: bool, edge: Any,
) -> None:  # fmt: skip
    """C (M, N) = A (M, K) B (K, N), added to C where ``add``.

    Where N is no multiple of PANEL, B is packed with zeros up to it, and ``edge`` (ROWS*PANEL floats)
    takes the last panel's tiles on their way to C.
    """
    for p in range(0, N, PANEL):
        bp = b0 + p // PANEL * panel
        width = min(PANEL, N - p)
        i = 0
        while i < M:
            rows = _step(M - i)
            whole = width == PANEL
            out, o0, ldo = (c, c0 + i * ldc + p, ldc) if whole else (edge, 0, PANEL)
            _multiply_tile(rows, a, a0 + i * lda, lda, b, bp, ldb, out, o0, ldo, K, add and whole)
            if not whole:
                _copy_edge(edge, c, c0 + i * ldc + p, ldc, rows, width, add)
            i += rows


@compiled
def multiply_turned(
    a: Any, a0: int, lda: int, b: Any, b0: int, panel: int, ldb: int, c: Any, c0: int, ldc: int,
    M: int, N: int, K: int, add: bool, edge: Any,
) -> None:  # fmt: skip
    """C (M, N) = A' B for A (K, M) and B (K, N), added to C where ``add``. ``edge``: see multiply."""
    for p in range(0, N, PANEL):
        bp = b0 + p // PANEL * panel
        width = min(PANEL, N - p)
        i = 0
        while i < M:
            rows = _step(M - i)
            whole = width == PANEL
            out, o0, ldo = (c, c0 + i * ldc + p, ldc) if whole else (edge, 0, PANEL)
            _turned_tile(rows, a, a0 + i, lda, b, bp, ldb, out, o0, ldo, K, add and whole)
            if not whole:
                _copy_edge(edge, c, c0 + i * ldc + p, ldc, rows, width, add)
            i += rows


@compiled
def pack(b: Any, b0: int, ldb: int, K: int, N: int, out: Any, out0: int) -> None:
    """A plain B (K, N) into panels: out[out0 + (j//PANEL)*K*PANEL + k*PANEL + j%PANEL] = B[k, j], zeros past N."""
    for k in range(K):
        row, target = b0 + k * ldb, out0 + k * PANEL
        whole = N // PANEL * PANEL
        for p in range(0, whole, PANEL):
            move(b, row + p, out, target + p * K)
        if whole < N:
            last = out[target + whole * K : target + whole * K + PANEL]
            copy(b[row + whole : row + N], last[: N - whole])
            last[N - whole :] = 0


@compiled
def pack_turned(b: Any, b0: int, ldb: int, K: int, N: int, out: Any, out0: int) -> None:
    """The same for a B whose transpose (N, K) lies in memory: out[...] = b[b0 + j*ldb + k]."""
    for p in range(0, N, PANEL):
        panel = out[out0 + p * K : out0 + (p + PANEL) * K]
        width = min(PANEL, N - p)
        if width < PANEL:
            panel[:] = 0
        for k0 in range(0, K, PANEL):  # in squares, which stay in the cache
            for j in range(width):
                row = b[b0 + (p + j) * ldb + k0 : b0 + (p + j) * ldb + min(k0 + PANEL, K)]
                column = panel[k0 * PANEL + j :: PANEL]
                for k in range(row.size):
                    column[k] = row[k]


def edge_buffer() -> np.ndarray:
    """The ``edge`` that multiply and multiply_turned take, one for each thread."""
    return np.empty(ROWS * PANEL, np.float32)


def packed_size(K: int, N: int) -> int:
    """How many floats pack writes."""
    return K * (-(-N // PANEL) * PANEL)


@inner
def _step(rows_left: int) -> int:
    """The height of the next tile."""
    if rows_left >= ROWS:
        return ROWS
    return 4 if rows_left >= 4 else 1


@inner
def _multiply_tile(rows, a, a0, lda, b, b0, ldb, c, c0, ldc, K, add):  # type: ignore[no-untyped-def]
    if rows == ROWS:
        _tile(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)
    elif rows == 4:
        _tile_4(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)
    else:
        _tile_1(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)


@inner
def _turned_tile(rows, a, a0, lda, b, b0, ldb, c, c0, ldc, K, add):  # type: ignore[no-untyped-def]
    if rows == ROWS:
        _turned(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)
    elif rows == 4:
        _turned_4(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)
    else:
        _turned_1(a, a0, lda, b, b0, ldb, c, c0, ldc, K, add)


@inner
def _copy_edge(edge: Any, c: Any, c0: int, ldc: int, rows: int, width: int, add: bool) -> None:
    for i in range(rows):
        for j in range(width):
            c[c0 + i * ldc + j] = edge[i * PANEL + j] + (c[c0 + i * ldc + j] if add else 0.0)
