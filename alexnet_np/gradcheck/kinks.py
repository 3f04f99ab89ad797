"""Inputs without kinks and ties."""

from typing import Any

import numpy as np


def kink_free(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any = "float64") -> np.ndarray:
    """A random array for ReLU and pooling: no two entries are equal or close, none is close to 0.

    Its n entries are +-1, +-3, ..., times 2/n, in random order: between -2 and 2, at least 4/n apart. Among plain
    random floats some are bound to lie within a step of a kink.
    """
    size = int(np.prod(shape))
    ranks = rng.permutation(size) - size // 2
    return ((2 * ranks + 1) * (2 / max(size, 1))).reshape(shape).astype(dtype)
