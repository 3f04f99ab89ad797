"""The linear layer on a GPU: three products by cuBLAS, and bias.cu around them."""

from collections.abc import Callable
from typing import Any

from .. import reference
from ..array_module import array_module
from ..reference import checks
from .bias import add_bias, gradient
from .gemm import multiply
from .precision import has_product, operand, result_dtype


def linear_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward("float32", False, x, w, b)


def linear_relu_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward("float32", True, x, w, b)


def with_precision(precision: str) -> dict[str, Callable[..., Any]]:
    """This chapter's functions in a precision; backward keeps to forward's."""

    def forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
        return _forward(precision, False, x, w, b)

    def relu_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
        return _forward(precision, True, x, w, b)

    return {"linear_forward": forward, "linear_relu_forward": relu_forward}


def _forward(precision: str, relu: bool, x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    checks.linear(x, w, b)
    if not has_product(x, w, b, precision):
        y, saved = (reference.linear_relu_forward if relu else reference.linear_forward)(x, w, b)
        return y, ("reference", saved)
    dx_dtype, dw_dtype = x.dtype, w.dtype
    y = array_module(x).empty((len(x), w.shape[1]), result_dtype(x, precision, relu))
    x, w = operand(x, precision), operand(w, precision)
    multiply(x, w, y, precision)
    if relu or b is not None:
        add_bias(y, b, relu)
    return y, ("gpu", precision, x, w, b is not None, y if relu else None, dx_dtype, dw_dtype)


def linear_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.linear_backward(dy, saved[1], input_grad)
    _, precision, x, w, has_bias, y, dx_dtype, dw_dtype = saved
    xp, (N, I), O = array_module(dy), x.shape, w.shape[1]
    checks.gradient("linear", dy, (N, O))
    dz, db = gradient(dy, y, has_bias)
    dz = operand(dz, precision)
    dw = xp.empty((I, O), dw_dtype)
    multiply(x, dz, dw, precision, transpose_a=True)
    dx = None
    if input_grad:
        dx = xp.empty((N, I), dx_dtype)
        multiply(dz, w, dx, precision, transpose_b=True)
    return dx, dw, db


def linear_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.linear_relu_backward(dy, saved[1], input_grad)
    return linear_backward(dy, saved, input_grad)
