"""What an engine computes in one pass: operations behind each other, a rule for many arrays. Here: one by one."""

from collections.abc import Callable
from typing import Any

from .activation import relu_backward, relu_forward
from .conv import conv2d_backward, conv2d_forward
from .linear import linear_backward, linear_forward
from .pool import max_pool2d_backward, max_pool2d_forward
from .sgd import sgd_2012_inplace, sgd_torch_inplace


def conv2d_relu_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """relu(conv2d(x)): shapes as in conv2d_forward."""
    y, conv_saved = conv2d_forward(x, w, b, stride, padding, groups)
    y, relu_saved = relu_forward(y)
    return y, (conv_saved, relu_saved)


def conv2d_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """dx, dw, db as in conv2d_backward."""
    conv_saved, relu_saved = saved
    return conv2d_backward(relu_backward(dy, relu_saved), conv_saved, input_grad)


def conv2d_relu_max_pool2d_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
) -> tuple[Any, Any]:
    """max_pool2d(relu(conv2d(x))): shapes as theirs. ``pool``: what max_pool2d_forward takes behind x."""
    y, conv_saved = conv2d_relu_forward(x, w, b, stride, padding, groups)
    y, pool_saved = max_pool2d_forward(y, *pool)
    return y, (conv_saved, pool_saved)


def conv2d_relu_max_pool2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """dx, dw, db as in conv2d_backward."""
    conv_saved, pool_saved = saved
    return conv2d_relu_backward(max_pool2d_backward(dy, pool_saved), conv_saved, input_grad)


def linear_relu_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """relu(linear(x)): shapes as in linear_forward."""
    y, linear_saved = linear_forward(x, w, b)
    y, relu_saved = relu_forward(y)
    return y, (linear_saved, relu_saved)


def linear_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """dx, dw, db as in linear_backward."""
    linear_saved, relu_saved = saved
    return linear_backward(relu_backward(dy, relu_saved), linear_saved, input_grad)


def for_each(step: Callable[..., None]) -> Callable[..., None]:
    """A rule of SGD for lists: ``step`` for every w with its g and v."""

    def step_all(
        ws: list[Any], gs: list[Any], vs: list[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        for w, g, v in zip(ws, gs, vs, strict=True):
            step(w, g, v, lr, momentum, weight_decay)

    return step_all


sgd_torch_all_inplace = for_each(sgd_torch_inplace)
sgd_2012_all_inplace = for_each(sgd_2012_inplace)
