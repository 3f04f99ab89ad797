"""The gpu book: the reference book's sums in CUDA kernels of our own, on CuPy arrays.

    launch, common.h     finds, compiles and starts the kernels of the .cu files
    pool                 the chapters, each a .py beside its .cu

Kernels take float32, float64 and bfloat16; other dtypes, and whatever is left out here, are the reference book's, which
runs on CuPy arrays as it stands. Nothing of it has run on a GPU so far: docs/gpu.md.
"""

from .pool import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)

__all__ = [
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
]
