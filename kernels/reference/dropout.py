"""Dropout, forward and backward.

Sources: Krizhevsky et al. 2012, section 4.2; Srivastava et al. 2014, section 10 (the inverted form).
"""

from typing import Any

from ..array_module import array_module
from . import checks


def dropout_forward(x: Any, p: float, rng: Any, inverted: bool = True) -> tuple[Any, Any]:
    """In training: each element becomes 0 with probability p, independently; any shape.

        y = mask * scale * x,   mask 0 or 1

    ``rng`` (numpy.random.Generator, or cupy's) draws one float32 in [0, 1) an element; those >= p stay.

    ``inverted`` multiplies those that stay by 1 / (1 - p), so that the expected value is x and nothing
    need be done at test time. Without it, as in 2012, test time multiplies by 1 - p instead.
    """
    xp = array_module(x)
    keep = rng.random(x.shape, dtype=xp.float32) >= p
    scale = 1 / (1 - p) if inverted and p < 1 else 1.0
    return _mask(xp, keep, x, scale), (keep, scale)


def dropout_backward(dy: Any, saved: Any) -> Any:
    """dx = mask * scale * dy, with forward's mask: each y depends on its own x alone, with this factor."""
    keep, scale = saved
    checks.gradient("dropout", dy, keep.shape)
    return _mask(array_module(dy), keep, dy, scale)


def _mask(xp: Any, keep: Any, x: Any, scale: float) -> Any:
    # where, not keep * x: 0 * inf is NaN.
    return xp.where(keep, x * x.dtype.type(scale), xp.zeros((), x.dtype))
