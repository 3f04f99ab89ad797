"""The matrix products against NumPy's in float64, with guards around everything that is written."""

import numpy as np
from alexnet_np.kernels.cpu import gemm
from alexnet_np.kernels.cpu.simd import PANEL, ROWS
from hypothesis import given, strategies as st

sizes = st.integers(1, 3 * ROWS + 5)
widths = st.integers(1, 3 * PANEL + 3)
GUARD = np.float32(-777)


@given(
    M=sizes, N=widths, K=st.integers(1, 40), spare=st.integers(0, 9), add=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_multiply(M: int, N: int, K: int, spare: int, add: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((M, K + spare), dtype=np.float32), rng.standard_normal((K, N), dtype=np.float32)
    c = np.full((M + 2, N + spare + 1), GUARD)
    before = rng.standard_normal((M, N), dtype=np.float32)
    c[1:-1, :N] = before
    packed = np.full(gemm.packed_size(K, N) + 1, GUARD)
    gemm.pack(b.ravel(), 0, N, K, N, packed, 0)
    edge = np.empty(ROWS * PANEL, np.float32)
    ldc = c.shape[1]
    gemm.multiply(a.ravel(), 0, K + spare, packed, 0, K * PANEL, PANEL, c.ravel(), ldc, ldc, M, N, K, add, edge)
    expected = a[:, :K].astype(np.float64) @ b + (before if add else 0)
    np.testing.assert_allclose(c[1:-1, :N], expected, rtol=1e-5, atol=1e-5)
    assert packed[-1] == GUARD
    assert (c[0] == GUARD).all() and (c[-1] == GUARD).all() and (c[:, N:] == GUARD).all()


@given(
    M=sizes, N=widths, K=st.integers(1, 40), spare=st.integers(0, 9), add=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_multiply_turned(M: int, N: int, K: int, spare: int, add: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((K, M + spare), dtype=np.float32), rng.standard_normal((N, K), dtype=np.float32)
    c = np.full((M + 2, N + spare + 1), GUARD)
    before = rng.standard_normal((M, N), dtype=np.float32)
    c[1:-1, :N] = before
    packed = np.full(gemm.packed_size(K, N) + 1, GUARD)
    gemm.pack_turned(b.ravel(), 0, K, K, N, packed, 0)
    edge = np.empty(ROWS * PANEL, np.float32)
    ldc = c.shape[1]
    gemm.multiply_turned(a.ravel(), 0, M + spare, packed, 0, K * PANEL, PANEL, c.ravel(), ldc, ldc, M, N, K, add, edge)
    expected = a[:, :M].T.astype(np.float64) @ b.T + (before if add else 0)
    np.testing.assert_allclose(c[1:-1, :N], expected, rtol=1e-5, atol=1e-5)
    assert packed[-1] == GUARD
    assert (c[0] == GUARD).all() and (c[-1] == GUARD).all() and (c[:, N:] == GUARD).all()


def test_a_plain_matrix_is_a_panelled_one_of_other_strides() -> None:
    rng = np.random.default_rng(0)
    M, N, K = 17, 3 * PANEL, 29
    a, b = rng.standard_normal((M, K), dtype=np.float32), rng.standard_normal((K, N), dtype=np.float32)
    c, edge = np.empty((M, N), np.float32), np.empty(ROWS * PANEL, np.float32)
    gemm.multiply(a.ravel(), 0, K, b.ravel(), 0, PANEL, N, c.ravel(), 0, N, M, N, K, False, edge)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=1e-5, atol=1e-5)
