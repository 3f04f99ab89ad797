"""What kernels/gpu/cublas.py tells cublasGemmEx: a stand-in does what cuBLAS documents, on NumPy memory."""

import ctypes
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

cublas = import_module("alexnet_np.kernels.gpu.cublas")


class DeviceArray(np.ndarray):
    """A NumPy array that tells its address as CuPy's do."""

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)


def device(array):
    return array.view(DeviceArray)


DTYPES = {0: (np.float32, ctypes.c_float), 1: (np.float64, ctypes.c_double)}


def column_major(pointer, dtype, rows, columns, leading):
    """The matrix that cuBLAS sees at an address."""
    assert leading >= max(1, rows)
    flat = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(dtype)), (leading * (columns - 1) + rows,))
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (flat.itemsize, leading * flat.itemsize))


def gemm_ex(handle, transa, transb, m, n, k, alpha, a, atype, lda, b, btype, ldb, beta, c, ctype, ldc, compute, algo):
    """C = alpha op(A) op(B) + beta C, all stored by columns."""
    transa, transb, m, n, k, lda, ldb, ldc = (x.value for x in (transa, transb, m, n, k, lda, ldb, ldc))
    kinds = [DTYPES[x.value][1] for x in (atype, btype, ctype)]
    a_matrix = column_major(a, kinds[0], *((k, m) if transa else (m, k)), lda)
    b_matrix = column_major(b, kinds[1], *((n, k) if transb else (k, n)), ldb)
    c_matrix = column_major(c, kinds[2], m, n, ldc)
    scalar = {68: ctypes.c_float, 77: ctypes.c_float, 70: ctypes.c_double}[compute.value]
    alpha, beta = (ctypes.cast(x, ctypes.POINTER(scalar))[0] for x in (alpha, beta))
    product = alpha * (a_matrix.T if transa else a_matrix) @ (b_matrix.T if transb else b_matrix)
    c_matrix[...] = product + beta * c_matrix if beta else product
    return 0


@pytest.fixture
def library(monkeypatch):
    calls = []
    fake = SimpleNamespace(cublasGemmEx=lambda *arguments: (calls.append(arguments), gemm_ex(*arguments))[1])
    monkeypatch.setattr(cublas, "_library", lambda: fake)
    monkeypatch.setattr(cublas, "_handle", lambda: None)
    return SimpleNamespace(calls=calls, fake=fake)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_a_product_of_rows(library, dtype, transpose_a, transpose_b, beta):
    rng = np.random.default_rng(0)
    M, N, K = 4, 3, 5
    a = rng.standard_normal((K, M) if transpose_a else (M, K)).astype(dtype)
    b = rng.standard_normal((N, K) if transpose_b else (K, N)).astype(dtype)
    out = rng.standard_normal((M, N)).astype(dtype)
    expected = (a.T if transpose_a else a) @ (b.T if transpose_b else b) + beta * out
    result = cublas.gemm(device(a), device(b), device(out), transpose_a, transpose_b, beta)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_blocks_of_columns(library):
    """The groups of a convolution: rows of the operands and of the result lie apart."""
    rng = np.random.default_rng(0)
    a, b, out = (rng.standard_normal(shape) for shape in ((4, 9), (5, 8), (4, 7)))
    before = out.copy()
    cublas.gemm(device(a)[:, 3:8], device(b)[:, 2:5], device(out)[:, 1:4])
    np.testing.assert_allclose(out[:, 1:4], a[:, 3:8] @ b[:, 2:5])
    np.testing.assert_array_equal(np.delete(out, (1, 2, 3), 1), np.delete(before, (1, 2, 3), 1))


@pytest.mark.parametrize(("M", "N", "K"), [(1, 4, 3), (4, 1, 3), (4, 3, 1), (1, 1, 1), (0, 3, 2), (3, 0, 2), (3, 2, 0)])
def test_sides_of_one_and_of_none(library, M, N, K):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((M, K)), rng.standard_normal((K, N))
    out = np.full((M, N), np.nan)
    np.testing.assert_allclose(cublas.gemm(device(a), device(b), device(out)), a @ b)


def test_tf32_is_asked_for_by_name(library):
    a = device(np.ones((2, 2), np.float32))
    for tf32, compute in ((False, 68), (True, 77)):
        cublas.gemm(a, a, a.copy(), tf32=tf32)
        assert library.calls[-1][-2].value == compute


def test_what_cublas_could_not_read_is_refused(library):
    a = device(np.ones((4, 4)))
    with pytest.raises(ValueError, match=r"expected \(M, K\), \(K, N\) and \(M, N\)"):
        cublas.gemm(a, a[:3], a.copy())
    with pytest.raises(ValueError, match="b: expected rows that are contiguous"):
        cublas.gemm(a, a.T, a.copy())
    with pytest.raises(TypeError, match="a: expected dtype float32"):
        cublas.gemm(a.astype(np.int32), a, a.copy())
    library.fake.cublasGemmEx = lambda *arguments: 15
    with pytest.raises(RuntimeError, match="cublasGemmEx failed with status 15"):
        cublas.gemm(a, a, a.copy())
