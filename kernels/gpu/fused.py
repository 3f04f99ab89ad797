"""A convolution with the ReLU and the pooling behind it on a GPU: one after the other, in this book's functions."""

from collections.abc import Callable
from typing import Any

from . import conv
from .pool import max_pool2d_backward, max_pool2d_forward


def conv2d_relu_max_pool2d_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward(conv.conv2d_relu_forward, x, w, b, stride, padding, groups, pool)


def conv2d_relu_max_pool2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    conv_saved, pool_saved = saved
    return conv.conv2d_relu_backward(max_pool2d_backward(dy, pool_saved), conv_saved, input_grad)


def with_precision(precision: str) -> dict[str, Callable[..., Any]]:
    """This chapter's functions in a precision; backward keeps to forward's."""
    conv2d_relu_forward = conv.with_precision(precision)["conv2d_relu_forward"]

    def forward(
        x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
    ) -> tuple[Any, Any]:
        return _forward(conv2d_relu_forward, x, w, b, stride, padding, groups, pool)

    return {"conv2d_relu_max_pool2d_forward": forward}


def _forward(
    conv2d_relu_forward: Callable[..., Any],
    x: Any,
    w: Any,
    b: Any,
    stride: Any,
    padding: Any,
    groups: int,
    pool: tuple[Any, ...],
) -> tuple[Any, Any]:
    y, conv_saved = conv2d_relu_forward(x, w, b, stride, padding, groups)
    y, pool_saved = max_pool2d_forward(y, *pool)
    return y, (conv_saved, pool_saved)
