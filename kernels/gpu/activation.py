"""ReLU and softmax on a GPU: activation.cu."""

from typing import Any

from .. import reference
from ..array_module import array_module
from ..reference import checks
from .launch import all_of, contiguous, has_kernel, launch, rows, width


def relu_forward(x: Any) -> tuple[Any, Any]:
    """See the reference book."""
    if not has_kernel(x):
        return reference.relu_forward(x)
    x = contiguous(x)
    y = array_module(x).empty_like(x)
    wide = width(x.size, x)
    launch("relu_forward", x, wide, all_of(x.size // wide), x, y, x.size)
    return y, y


def relu_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    y = saved
    if not has_kernel(dy, y):
        return reference.relu_backward(dy, y)
    checks.gradient("relu", dy, y.shape)
    dy, y = contiguous(dy), contiguous(y)
    dx = array_module(dy).empty_like(dy)
    wide = width(dy.size, dy, y)
    launch("relu_backward", dy, wide, all_of(dy.size // wide), dy, y, dx, dy.size)
    return dx


def softmax_forward(x: Any) -> tuple[Any, Any]:
    """See the reference book."""
    if not has_kernel(x):
        return reference.softmax_forward(x)
    checks.rows("softmax", x)
    x = contiguous(x)
    p = array_module(x).empty_like(x)
    launch("softmax_forward", x, 1, rows(len(x), 1), x, p, *x.shape)
    return p, p


def softmax_backward(dp: Any, saved: Any) -> Any:
    """See the reference book."""
    p = saved
    if not has_kernel(dp, p):
        return reference.softmax_backward(dp, p)
    checks.gradient("softmax", dp, p.shape)
    dp, p = contiguous(dp), contiguous(p)
    dx = array_module(dp).empty_like(dp)
    launch("softmax_backward", dp, 1, rows(len(dp), 1), dp, p, dx, *dp.shape)
    return dx
