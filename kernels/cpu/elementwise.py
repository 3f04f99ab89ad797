"""Loops over runs of floats that several chapters need.

They take whole views and count from 0: an index that is known not to be negative leaves Numba a vector
loop, where ``array[start + i]`` would be checked for wrapping around at every element.
"""

import numpy as np

from .jit import inner


@inner
def copy(source, target):  # type: ignore[no-untyped-def]
    for i in range(target.size):
        target[i] = source[i]


@inner
def copy_pixels(source, s0, target, t0, pixels, C, c0, c1):  # type: ignore[no-untyped-def]
    """Channels c0 ... c1 - 1 of neighbouring pixels of C channels."""
    if c1 - c0 == C:
        copy(source[s0 : s0 + pixels * C], target[t0 : t0 + pixels * C])
    else:
        for e in range(0, pixels * C, C):
            copy(source[s0 + e + c0 : s0 + e + c1], target[t0 + e + c0 : t0 + e + c1])


@inner
def copy_positive(source, y, target):  # type: ignore[no-untyped-def]
    """0 where y <= 0, else source: the ReLU's gradient."""
    for i in range(target.size):
        target[i] = np.float32(0) if y[i] <= 0 else source[i]


@inner
def add_bias(sums, bias, relu, y):  # type: ignore[no-untyped-def]
    """y = sums + bias, and relu of that where ``relu``. NaN stays NaN."""
    if relu:
        for i in range(y.size):
            value = sums[i] + bias[i]
            y[i] = np.float32(0) if value <= 0 else value
    else:
        for i in range(y.size):
            y[i] = sums[i] + bias[i]


@inner
def add(source, target):  # type: ignore[no-untyped-def]
    for i in range(target.size):
        target[i] += source[i]
