"""The matrix products against NumPy's in float64, with guards around everything that is written."""

import numpy as np
import pytest
from alexnet_np.kernels.cpu import gemm
from alexnet_np.kernels.cpu.simd import PANEL, ROWS
from hypothesis import given, strategies as st

sizes = st.integers(1, 3 * ROWS + 5)
widths = st.integers(1, 3 * PANEL + 3)
GUARD = np.float32(-777)


@pytest.mark.parametrize("turned", [False, True])
@given(
    M=sizes, N=widths, K=st.integers(1, 40), spare=st.integers(0, 9), add=st.booleans(), seed=st.integers(0, 2**32 - 1)
)
def test_multiply(turned: bool, M: int, N: int, K: int, spare: int, add: bool, seed: int) -> None:
    """Where ``turned``, the memory of A holds A', that of B holds B'."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((M, K), dtype=np.float32), rng.standard_normal((K, N), dtype=np.float32)
    before = rng.standard_normal((M, N), dtype=np.float32)
    in_memory = np.pad(a.T if turned else a, ((0, 0), (0, spare)), constant_values=GUARD)
    c = np.full((M + 2, N + spare + 1), GUARD)
    c[1:-1, :N] = before
    packed = np.full(gemm.packed_size(K, N) + 1, GUARD)
    if turned:
        gemm.pack_turned(b.T.ravel(), 0, K, K, N, packed, 0)
    else:
        gemm.pack(b.ravel(), 0, N, K, N, packed, 0)
    multiply = gemm.multiply_turned if turned else gemm.multiply
    lda, ldc, edge = in_memory.shape[1], c.shape[1], gemm.edge_buffer()
    multiply(in_memory.ravel(), 0, lda, packed, 0, K * PANEL, PANEL, c.ravel(), ldc, ldc, M, N, K, add, edge)
    expected = a.astype(np.float64) @ b + (before if add else 0)
    np.testing.assert_allclose(c[1:-1, :N], expected, rtol=1e-5, atol=1e-5)
    assert packed[-1] == GUARD
    assert (c[0] == GUARD).all() and (c[-1] == GUARD).all() and (c[:, N:] == GUARD).all()


def test_a_plain_matrix_is_a_panelled_one_of_other_strides() -> None:
    rng = np.random.default_rng(0)
    M, N, K = 17, 3 * PANEL, 29
    a, b = rng.standard_normal((M, K), dtype=np.float32), rng.standard_normal((K, N), dtype=np.float32)
    c, edge = np.empty((M, N), np.float32), gemm.edge_buffer()
    gemm.multiply(a.ravel(), 0, K, b.ravel(), 0, PANEL, N, c.ravel(), 0, N, M, N, K, False, edge)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=1e-5, atol=1e-5)
