"""Matrix products: cuBLAS on a GPU, NumPy where the kernels run on a CPU."""

from typing import Any

import numpy as np

from . import cublas


def multiply(
    a: Any,
    b: Any,
    out: Any,
    precision: str = "float32",
    transpose_a: bool = False,
    transpose_b: bool = False,
    accumulate: bool = False,
) -> None:
    """out = a b, or out += a b where ``accumulate``: matrices with contiguous rows, transposed where that is said.

    Products are added up in float32 (float64 for float64). With "tf32" float32 operands are first rounded to 10 bits
    behind the point, by the tensor cores; bfloat16 operands have 7 anyway.
    """
    if isinstance(out, np.ndarray):
        _on_host(a.T if transpose_a else a, b.T if transpose_b else b, out, precision, accumulate)
    else:
        cublas.gemm(a, b, out, transpose_a, transpose_b, float(accumulate), precision == "tf32")


def _on_host(a: Any, b: Any, out: Any, precision: str, accumulate: bool) -> None:
    wide = np.result_type(out.dtype, np.float32)
    a, b = a.astype(wide), b.astype(wide)
    if precision == "tf32" and wide == np.float32:
        a, b = _tf32(a), _tf32(b)
    product = a @ b
    out[...] = out + product if accumulate else product


def _tf32(array: Any) -> Any:
    """Rounded to 10 of the 23 bits behind the point."""
    bits = np.ascontiguousarray(array).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)
