"""The slope of a function along a line, by evaluating it: central differences that step off kinks, and complex steps.

phi(t) = <dy, f(x + t u)> has the slope phi'(0) = <dx, u> if dx is the gradient that belongs to dy. That is
what a gradient is, and what every check of this package compares. u has the size of x, so that t is a relative step.

    central difference   D(h) = (phi(h) - phi(-h)) / 2h = phi'(0) + O(h^2)
    Richardson           R(h) = (64 D(h/8) - D(h)) / 63 = phi'(0) + O(h^4)
    complex step         Im <dy, f(x + ih u)> / h       = phi'(0) + O(h^2), where f is analytic; as nothing is
                         subtracted, h can be so small (2^-100) that only rounding remains

A kink (ReLU at 0, two equal pixels in a pooling window) between -h and h spoils D(h). It gives itself
away: D then changes with h, or, where x is on the kink itself, the slopes to the left and to the right differ by as
much at h/8 as at h (a smooth function's by an eighth of it). So h shrinks until neither is seen, if that helps.

Sources: Richardson 1911; Squire & Trapp 1998 (complex step).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

STEPS = [2.0**-e for e in (10, 13, 16, 19, 22, 25)]
RATIO = 8  # of one step to the next
COMPLEX_STEP = 2.0**-100


def norm(x: Any) -> float:
    """The root of the sum of squares."""
    return float(np.linalg.norm(np.ravel(x)))


def central(
    line: Callable[[float], Any], dy: Any, scale: float, tolerance: float, steps: Sequence[float] = STEPS
) -> float | None:
    """phi'(0) by central differences, to a tenth of ``tolerance`` times ``scale``; None at a kink.

    ``line(t)`` is f(x + t u). ``scale`` says how large slopes are here: what an error is relative to.
    """
    middle = line(0.0)
    rounding = 16 * np.finfo(np.float64).eps * norm(dy * middle)
    slopes: list[float] = []
    bends: list[float] = []
    for h in steps:
        with np.errstate(all="ignore"):  # a step may leave the domain of a logarithm: the next one is shorter
            right, left = line(h) - middle, middle - line(-h)
        slopes.append(float((dy * (right + left)).sum()) / (2 * h))
        bends.append(float((dy * (right - left)).sum()) / h)
        if len(slopes) == 1:
            continue
        slope = _limit(slopes[-2], slopes[-1], RATIO**2)
        bend = _limit(bends[-2], bends[-1], RATIO)  # 0 for a smooth function
        allowed = tolerance * max(scale, abs(slope))
        noise = rounding / h
        if noise > allowed:
            return None
        if abs(slopes[-2] - slopes[-1]) <= 0.1 * allowed + noise and abs(bend) <= allowed + 2 * noise:
            return slope
    return None


def complex_step(line: Callable[[complex], Any], dy: Any) -> float:
    """phi'(0) by a complex step."""
    return float((dy * line(1j * COMPLEX_STEP).imag).sum()) / COMPLEX_STEP


def _limit(coarse: float, fine: float, power: int) -> float:
    """What two values tend to, whose errors are as power to 1."""
    return (power * fine - coarse) / (power - 1)
