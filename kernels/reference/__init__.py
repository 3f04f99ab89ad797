"""The reference book: the definition of every sum, forward beside backward, in plain array code.

Reading order: linear, activation, loss, sgd, then geometry, conv, pool, dropout, norm, pictures.

Notation in all files. L is the loss, a single number. dy has the shape of y and holds the derivative of L
by each element of y: dy[o] = dL / dy[o]. dx, dw and db are the same for x, w and b. Every backward is the
chain rule: x[i] changes L through every y[o] that it reaches,

    dx[i] = sum over o of  dy[o] * (the derivative of y[o] by x[i])

``saved`` is what forward keeps for backward. A' is the transpose of A. ``xp`` is NumPy, or CuPy where the arrays
are CuPy's.
"""

from .activation import relu_backward, relu_forward, softmax_backward, softmax_forward
from .checks import check_labels
from .conv import col2im, conv2d_algorithm, conv2d_backward, conv2d_forward, im2col
from .dropout import dropout_backward, dropout_forward
from .fused import (
    conv2d_relu_backward,
    conv2d_relu_forward,
    conv2d_relu_max_pool2d_backward,
    conv2d_relu_max_pool2d_forward,
    linear_relu_backward,
    linear_relu_forward,
    sgd_2012_all_inplace,
    sgd_torch_all_inplace,
)
from .geometry import output_size
from .linear import linear_backward, linear_forward
from .loss import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from .norm import local_response_norm_backward, local_response_norm_forward
from .pictures import normalise
from .pool import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from .sgd import sgd_2012_inplace, sgd_torch_inplace

__all__ = [
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "check_labels",
    "col2im",
    "conv2d_algorithm",
    "conv2d_backward",
    "conv2d_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_max_pool2d_backward",
    "conv2d_relu_max_pool2d_forward",
    "dropout_backward",
    "dropout_forward",
    "im2col",
    "linear_backward",
    "linear_forward",
    "linear_relu_backward",
    "linear_relu_forward",
    "local_response_norm_backward",
    "local_response_norm_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "normalise",
    "output_size",
    "relu_backward",
    "relu_forward",
    "sgd_2012_all_inplace",
    "sgd_2012_inplace",
    "sgd_torch_all_inplace",
    "sgd_torch_inplace",
    "softmax_backward",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_forward",
    "softmax_forward",
]
