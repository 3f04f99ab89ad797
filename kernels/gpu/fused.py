"""A convolution with the ReLU and the pooling behind it on a GPU: pooling first, for it leaves a quarter of the pixels.

Adding a bias and ReLU change no order, x1 >= x2 => relu(x1 + b) >= relu(x2 + b). So

    max over a window of relu(x + b)  =  relu(max over the window of x  +  b)

and the right side passes over a quarter of the memory. Back, a pooled pixel's gradient goes to its one winner, so that
ReLU's gate and the sum for db can be had from the pooled pixels as well. The convolution's own result is not kept.
(Where x + b is the same number for two pixels of a window and x is not, as for an infinite b, the winner is that of x.)
"""

from collections.abc import Callable
from typing import Any

from ..reference import checks
from . import conv
from .bias import add_bias, gradient
from .pool import has_pool, max_pool2d_backward, max_pool2d_forward
from .precision import has_product, result_dtype


def conv2d_relu_max_pool2d_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward("float32", x, w, b, stride, padding, groups, pool)


def with_precision(precision: str) -> dict[str, Callable[..., Any]]:
    """This chapter's functions in a precision; backward keeps to forward's."""

    def forward(
        x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
    ) -> tuple[Any, Any]:
        return _forward(precision, x, w, b, stride, padding, groups, pool)

    return {"conv2d_relu_max_pool2d_forward": forward}


def _forward(
    precision: str, x: Any, w: Any, b: Any, stride: Any, padding: Any, groups: int, pool: tuple[Any, ...]
) -> tuple[Any, Any]:
    checks.conv2d_relu_max_pool2d(x, w, b, stride, padding, groups, pool)
    if not has_product(x, w, b, precision) or not has_pool(*pool):
        relu_forward = conv.with_precision(precision)["conv2d_relu_forward"]
        y, conv_saved = relu_forward(x, w, b, stride, padding, groups)
        y, pool_saved = max_pool2d_forward(y, *pool)
        return y, ("one by one", conv_saved, pool_saved)
    product, saved = conv.product(precision, x, w, stride, padding, groups, result_dtype(x, precision, relu=True))
    y, pool_saved = max_pool2d_forward(product, *pool)
    add_bias(y, b, relu=True)
    return y, ("gpu", saved, pool_saved, b is not None, y)


def conv2d_relu_max_pool2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "one by one":
        _, conv_saved, pool_saved = saved
        return conv.conv2d_relu_backward(max_pool2d_backward(dy, pool_saved), conv_saved, input_grad)
    _, saved, pool_saved, has_bias, y = saved
    checks.gradient("conv2d_relu_max_pool2d", dy, y.shape)
    dy, db = gradient(dy, y, has_bias)
    return *conv.product_gradients(max_pool2d_backward(dy, pool_saved), saved, input_grad), db
