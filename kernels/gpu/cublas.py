"""cuBLAS's matrix product, called by ctypes, so that it may become part of a CUDA graph.

CuPy's binding cannot: every call of its own to cuBLAS, matmul, dot and tensordot among them, raises "calling cuBLAS API
during stream capture is currently unsupported" (cupy#6290), although cuBLAS allows the capture itself. So the library
that CuPy has loaded, and its handle, are called directly. Scratch memory is ours, for the same reason: what
cuBLAS takes for itself during a capture would become part of the graph.

Source: cuBLAS's documentation, cublasGemmEx and "CUDA Graphs Support".
"""

import ctypes
import sys
from functools import cache
from typing import Any

from .launch import lasting

# cudaDataType_t, by the name of the dtype
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
# cublasComputeType_t: how products are rounded. All but float64 add up in float32.
FLOAT32, TF32, FLOAT64 = 68, 77, 70
DEFAULT_ALGORITHM = -1
WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper, and more than the others ask for


def gemm(
    a: Any,
    b: Any,
    out: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    beta: float = 0.0,
    tf32: bool = False,
) -> Any:
    """out = a b + beta out, with a or b transposed where that is said: (M, K) (K, N) -> (M, N). Returns out.

    CuPy arrays of two axes; the last is contiguous, rows may lie apart (a block of columns). dtypes: float64; float32,
    whose products are those of TF32 where ``tf32``; bfloat16, with out in float32 or bfloat16.
    """
    (M, K), (K_b, N) = _shape(a, transpose_a), _shape(b, transpose_b)
    if K != K_b or out.shape != (M, N):
        raise ValueError(f"gemm: expected (M, K), (K, N) and (M, N), got {(M, K)}, {(K_b, N)} and {out.shape}")
    if 0 in (M, N, K):
        out[...] = beta * out if beta else 0
        return out
    compute = FLOAT64 if out.dtype == "float64" else TF32 if tf32 and a.dtype == "float32" else FLOAT32
    scalar = ctypes.c_double if compute == FLOAT64 else ctypes.c_float
    # To cuBLAS, which counts along columns first, our rows are the columns of the transpose: out' = b' a'.
    _call(
        "cublasGemmEx",
        _handle(),
        *map(ctypes.c_int, (transpose_b, transpose_a, N, M, K)),
        ctypes.byref(scalar(1.0)),
        *_operand("b", b),
        *_operand("a", a),
        ctypes.byref(scalar(beta)),
        *_operand("out", out),
        ctypes.c_int(compute),
        ctypes.c_int(DEFAULT_ALGORITHM),
    )
    return out


def _shape(array: Any, transposed: bool) -> tuple[int, int]:
    return array.shape[::-1] if transposed else array.shape


def _operand(name: str, array: Any) -> tuple[Any, ...]:
    """Address, type and distance between rows, as cublasGemmEx takes them."""
    if array.dtype.name not in TYPES:
        raise TypeError(f"gemm: {name}: expected dtype {', '.join(TYPES)}, got {array.dtype}")
    rows, columns = array.strides
    if columns != array.itemsize and array.shape[1] > 1:
        raise ValueError(f"gemm: {name}: expected rows that are contiguous, got strides {array.strides}")
    leading = max(rows // array.itemsize, array.shape[1])
    return ctypes.c_void_p(array.data.ptr), ctypes.c_int(TYPES[array.dtype.name]), ctypes.c_int(leading)


def _handle() -> ctypes.c_void_p:
    """CuPy's handle for this thread and device, set to the current stream and to our scratch memory."""
    import cupy

    handle = ctypes.c_void_p(cupy.cuda.device.get_cublas_handle())
    stream = cupy.cuda.get_current_stream()
    scratch = _scratch(cupy.cuda.Device().id, stream.ptr)
    _call("cublasSetStream_v2", handle, ctypes.c_void_p(stream.ptr))  # forgets the scratch memory
    _call("cublasSetWorkspace_v2", handle, ctypes.c_void_p(scratch.data.ptr), ctypes.c_size_t(WORKSPACE))
    return handle


@cache
def _scratch(device: int, stream: int) -> Any:
    """Never given back: graphs hold the address. One for each stream, as two may compute at the same time."""
    import cupy

    return lasting(cupy, WORKSPACE)


@cache
def _library() -> Any:
    """The library that CuPy has loaded for its handle."""
    import cupy

    handle = cupy.cuda.device.get_cublas_handle()
    major = cupy.cuda.cublas.getVersion(handle) // 10000  # 130100 is 13.1
    return ctypes.CDLL(f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}")


def _call(name: str, *arguments: Any) -> None:
    status = getattr(_library(), name)(*arguments)
    if status:
        raise RuntimeError(f"cuBLAS: {name} failed with status {status}")
