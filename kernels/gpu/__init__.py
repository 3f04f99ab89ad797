"""The gpu book: the reference book's sums in CUDA kernels of our own, on CuPy arrays.

    launch, common.h             finds, compiles and starts the kernels of the .cu files
    gemm, cublas, precision      matrix products
    bias, fused                  what surrounds them
    pictures                     their way in
    conv, linear, activation, pool, dropout, norm, loss, sgd     the chapters, each a .py beside its .cu

Kernels take float32, float64 and bfloat16; other dtypes, and whatever is left out here, are the reference book's, which
runs on CuPy arrays as it stands. Nothing of it has run on a GPU so far: docs/gpu.md.
"""

from collections.abc import Callable
from typing import Any

from . import conv, fused, linear
from .activation import relu_backward, relu_forward, softmax_backward, softmax_forward
from .conv import col2im, conv2d_backward, conv2d_forward, conv2d_relu_backward, conv2d_relu_forward, im2col
from .dropout import PhiloxGenerator as PhiloxGenerator, dropout_backward, dropout_forward
from .fused import conv2d_relu_max_pool2d_backward, conv2d_relu_max_pool2d_forward
from .linear import linear_backward, linear_forward, linear_relu_backward, linear_relu_forward
from .loss import softmax_cross_entropy_backward, softmax_cross_entropy_forward
from .norm import local_response_norm_backward, local_response_norm_forward
from .pictures import normalise
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
    "col2im",
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


def with_precision(precision: str) -> dict[str, Callable[..., Any]]:
    """The functions that differ where float32 is multiplied in another precision: see precision.py."""
    return {name: f for chapter in (conv, fused, linear) for name, f in chapter.with_precision(precision).items()}
