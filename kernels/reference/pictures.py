"""Pictures on their way into a network: from bytes to numbers around 0. No backward: nothing is learnt before here."""

from typing import Any

from ..array_module import array_module
from . import checks


def normalise(x: Any, mean: Any, std: Any) -> Any:
    """y[..., c] = (x[..., c] / 255 - mean[c]) / std[c]

    x (..., 3) uint8, mean and std of each colour, 3 numbers on a scale from 0 to 1  ->  y (..., 3) float32
    """
    checks.normalise(x, mean, std)
    xp = array_module(x)
    mean, std = xp.asarray(mean, "float32"), xp.asarray(std, "float32")
    return (x.astype("float32") / 255 - mean) / std
