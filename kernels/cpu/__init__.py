"""The cpu book: the reference book's sums, fast on a CPU with Numba and threads.

    simd, gemm, jit, threads, memory     what the chapters are built from
    conv (winograd, im2col), linear, pool, norm, dropout, sgd     the chapters

All of it is for float32; other dtypes, and whatever is left out here, are the reference book's.
"""

from .conv import (
    conv2d_algorithm,
    conv2d_backward,
    conv2d_forward,
    conv2d_relu_backward,
    conv2d_relu_forward,
    conv2d_relu_max_pool2d_backward,
    conv2d_relu_max_pool2d_forward,
    with_algorithm as with_algorithm,
)
from .dropout import dropout_backward, dropout_forward
from .linear import linear_backward, linear_forward, linear_relu_backward, linear_relu_forward
from .norm import local_response_norm_backward, local_response_norm_forward
from .pool import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from .sgd import sgd_2012_all_inplace, sgd_2012_inplace, sgd_torch_all_inplace, sgd_torch_inplace

__all__ = [
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "conv2d_algorithm",
    "conv2d_backward",
    "conv2d_forward",
    "conv2d_relu_backward",
    "conv2d_relu_forward",
    "conv2d_relu_max_pool2d_backward",
    "conv2d_relu_max_pool2d_forward",
    "dropout_backward",
    "dropout_forward",
    "linear_backward",
    "linear_forward",
    "linear_relu_backward",
    "linear_relu_forward",
    "local_response_norm_backward",
    "local_response_norm_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "sgd_2012_all_inplace",
    "sgd_2012_inplace",
    "sgd_torch_all_inplace",
    "sgd_torch_inplace",
]
