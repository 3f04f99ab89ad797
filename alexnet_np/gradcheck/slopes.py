"""The slope of a function along a line, by evaluating it: central differences that step off kinks, and complex steps.

phi(t) = <dy, f(x + t u)> has the slope phi'(0) = <dx, u> if dx is the gradient that belongs to dy. That is
what a gradient is, and what every check of this package compares. u has the size of x, so that t is a relative step.

    central difference   D(h) = (phi(h) - phi(-h)) / 2h = phi'(0) + O(h^2)
    Richardson           R(h) = (64 D(h/8) - D(h)) / 63 = phi'(0) + O(h^4)
    complex step         S(t) = Im <dy, f(x + tu + ih u)> / h = phi'(t) + O(h^2), where f is analytic; as nothing is
                         subtracted, h can be so small (2^-100) that only rounding remains

A kink (ReLU at 0, two equal pixels in a pooling window) between -h and h spoils D(h). It gives itself
away: D then changes with h, or, where x is on the kink itself, the slopes to the left and to the right differ by as
much at h/8 as at h (a smooth function's by an eighth of it). So h shrinks until neither is seen, if that helps.
A complex step sees one side of a kink only. So it is taken a little to the left and a little to the right of x: at a
kink the two slopes differ, however little.

Sources: Richardson 1911; Squire & Trapp 1998 (complex step); More & Wild 2011, "Estimating computational noise"
(difference tables, in ``noise``).
"""

from collections.abc import Callable, Sequence
from math import comb, isfinite
from typing import Any, NamedTuple

import numpy as np

EPS = float(np.finfo(np.float64).eps)
STEPS = [2.0**-e for e in (10, 13, 16, 19, 22, 25)]
LONG_STEPS = [2.0**-4, 2.0**-7, 2.0**-10]  # for slopes that rounding drowns in shorter steps
RATIO = 8  # of one step to the next
COMPLEX_STEP = 2.0**-100
ASIDE = [2.0**-44, 2.0**-48]  # how far from x complex steps are taken: hundreds of roundings, and tens
SMOOTH = 1e3  # slopes at both sides may differ by this many tolerances: at a kink they differ by as much as the slope
NEGLIGIBLE = 1e-3  # slopes this small beside y count as 0 for differences of y, which cannot show them well
TRIES = 8  # to find a direction without a kink; each moves half as many entries as the one before
NOISE_STEP = 2.0**-30
NOISE_POINTS = 10
NOISE_ORDER = 4


class Slope(NamedTuple):
    """phi'(0), and the step of the shortest difference that it comes from (0 for a complex step)."""

    value: float
    h: float


def norm(x: Any) -> float:
    """The root of the sum of squares."""
    return float(np.linalg.norm(np.ravel(x)))


def central(
    line: Callable[[float], Any],
    dy: Any,
    middle: Any,
    scale: float,
    tolerance: float,
    steps: Sequence[float] = STEPS,
) -> Slope | None:
    """phi'(0) by central differences, to a tenth of ``tolerance`` times ``scale``; None at a kink.

    ``line(t)`` is f(x + t u), ``middle`` is f(x). ``scale`` says how large slopes are here: what an error is relative
    to. Where no two of the ``steps`` agree, as rounding drowns the slope, longer ones may.
    """
    found = _agreeing(line, dy, middle, scale, tolerance, steps)
    return found or _agreeing(line, dy, middle, scale, tolerance, LONG_STEPS)


def _agreeing(
    line: Callable[[float], Any], dy: Any, middle: Any, scale: float, tolerance: float, steps: Sequence[float]
) -> Slope | None:
    """The slope by the first two steps that agree; None where none do.

    The sum of dy * y is rounded by about eps * |dy * y| (16 eps, to be safe). Divided by h, that is the slope's error.
    Where it exceeds ``tolerance`` times ``scale``, shorter steps are in vain.
    """
    rounding = 16 * EPS * norm(dy * middle)
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
        drowned = rounding / h
        if drowned > allowed:
            return None
        if abs(slopes[-2] - slopes[-1]) <= 0.1 * allowed + drowned and abs(bend) <= allowed + 2 * drowned:
            return Slope(slope, h)
    return None


def complex_step(
    line: Callable[[complex], Any], dy: Any, scale: float, tolerance: float, rounding: float = 0.0
) -> Slope | None:
    """phi'(0) by complex steps; None at a kink, and where the slope is no finite number.

    ``rounding`` is how far slopes may be apart for no reason.
    """
    bends: list[float] = []
    for aside in ASIDE:
        left, right = (complex_slope(line, dy, t) for t in (-aside, aside))
        slope = (left + right) / 2
        if not isfinite(slope):
            return None
        bends.append(right - left)
        if abs(bends[-1]) <= 10 * tolerance * max(scale, abs(slope)) + rounding:
            return Slope(slope, 0.0)
    bend = _limit(bends[0], bends[1], ASIDE[0] / ASIDE[1])  # 0 for a function that is curved, but smooth
    return Slope(slope, 0.0) if abs(bend) <= SMOOTH * tolerance * max(scale, abs(slope)) + rounding else None


def complex_slope(line: Callable[[complex], Any], dy: Any, t: float = 0.0, step: float = COMPLEX_STEP) -> float:
    """phi'(t) by one complex step, kink or not."""
    with np.errstate(all="ignore"):
        return float((dy * line(complex(t, step)).imag).sum()) / step


def difference(line: Callable[[float], Any], dy: Any, h: float) -> float:
    """D(h)."""
    with np.errstate(all="ignore"):
        return float((dy * (line(h) - line(-h))).sum()) / (2 * h)


def noise(evaluate: Callable[[float], float], step: float = NOISE_STEP) -> float:
    """The standard deviation of the rounding errors in ``evaluate(t)`` near t = 0: measured, not derived.

    Differences of high order make the smooth part of a function vanish: it shrinks with step^4. Rounding errors,
    which are independent from point to point, remain: a difference of order k multiplies their variance by
    (2k)! / k!^2. Infinity where a value is no finite number.
    """
    values = [evaluate((i + 1) * step) for i in range(NOISE_POINTS)]
    if not all(map(isfinite, values)):
        return float("inf")
    table = np.diff(values, n=NOISE_ORDER)
    return float(np.sqrt((table**2).mean() / comb(2 * NOISE_ORDER, NOISE_ORDER)))


def _limit(coarse: float, fine: float, power: float) -> float:
    """What two values tend to, whose errors are as power to 1."""
    return (power * fine - coarse) / (power - 1)
