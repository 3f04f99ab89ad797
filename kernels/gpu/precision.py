"""Which dtype products take, and how arrays come to it: precision.cu.

    precision      activations and operands     products            sums, weights and their gradients
    "float32"      float32                      as IEEE 754         float32
    "tf32"         float32                      of 10 bits          float32
    "bfloat16"     bfloat16                     of 7 bits           float32

All three concern float32; float64 is computed in float64. With "bfloat16" the layers that multiply round what they are
given, and their result is bfloat16 where a ReLU follows: a network's last layer, which has none, gives float32 logits
to the loss. Weights stay float32 and are rounded on their way into a product. A bfloat16 has float32's exponents, so
that small gradients do not vanish, and no loss has to be scaled.
"""

from typing import Any

from ..array_module import array_module
from .launch import all_of, contiguous, launch, width


def bfloat16() -> Any:
    """NumPy's and CuPy's dtype."""
    from ml_dtypes import bfloat16

    return bfloat16


def has_product(x: Any, w: Any, b: Any | None, precision: str) -> bool:
    """Whether this book multiplies these: x in the dtype of weights, or rounded; not empty."""
    dtypes = ("float32", "float64") if precision != "bfloat16" else ("float32", "float64", "bfloat16")
    same = x.dtype == w.dtype or (precision == "bfloat16" and x.dtype.name == "bfloat16" and w.dtype == "float32")
    return bool(same and x.dtype.name in dtypes and x.size and w.size and (b is None or b.dtype == w.dtype))


def operand(array: Any, precision: str) -> Any:
    """The array as products take it: contiguous, and float32 rounded to bfloat16 where the precision is that."""
    array = contiguous(array)
    return rounded(array) if precision == "bfloat16" and array.dtype == "float32" else array


def result_dtype(x: Any, precision: str, relu: bool) -> Any:
    """Of a product of x with weights."""
    if x.dtype == "float64":
        return x.dtype
    return bfloat16() if precision == "bfloat16" and relu else "float32"


def rounded(array: Any) -> Any:
    """float32 -> bfloat16, to the nearest."""
    out = array_module(array).empty(array.shape, bfloat16())
    wide = width(array.size, out)
    launch("to_bfloat16", out, wide, all_of(array.size // wide), array, out, array.size)
    return out


def widened(array: Any) -> Any:
    """bfloat16 -> float32."""
    out = array_module(array).empty(array.shape, "float32")
    wide = width(array.size, array)
    launch("to_float32", array, wide, all_of(array.size // wide), array, out, array.size)
    return out
