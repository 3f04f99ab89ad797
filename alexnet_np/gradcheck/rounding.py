"""How far rounding alone takes the slope that forward shows from the slope that backward says."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from .. import backend as backends
from . import slopes
from .problem import Direction

if TYPE_CHECKING:
    from .claim import Claim

MEASUREMENTS = 3  # of noise: the largest counts, as one alone may be small by chance
MOST = 100  # tolerances: noise of forward beyond this hides the slope
SATURATED = 64  # roundings of y, in the complex step of a function that is flat where it is large
FEW_DIGITS = 1e-11  # relative: noise of y beyond this is not that of float64
HONEST = 1e-10  # relative: noise of backward beyond this is no rounding


def rounding(claim: "Claim", direction: Direction, h: float, size: float, difference: float) -> float | None:
    """How far rounding alone may take the two slopes apart; None where it hides the slope that forward shows.

    Two parts. What is known: y itself and the sum over dy * y are rounded by eps times the size of the terms,
    divided by h for differences; so are y' and the sum over dy * y'. Each counts 16 times, and y 64 times for
    complex steps: where y saturates, as a softmax does for x = 30, y' is the difference of two numbers 30 times
    y. What is measured, as only forward and backward know their intermediate results: both slopes are evaluated
    at points next to x, and the noise in them counts eight times, which random errors do not exceed.

    Noise of backward is an excuse up to 1e-10 of the slope, or of what counts as 0 beside y: more is no rounding in
    float64. A measurement takes 10 or 20 forwards, and a wrong gradient has hundreds of wrong entries. So where the
    ``difference`` is far beyond what noise may be, a few measurements serve all entries.
    """
    known = slopes.EPS * slopes.norm(claim.dy * claim.y) * (16 / h if h else SATURATED)
    if not h:
        derivative = claim.line(direction)(1j * slopes.COMPLEX_STEP).imag / slopes.COMPLEX_STEP
        known += 16 * slopes.EPS * slopes.norm(claim.dy * derivative)
    if difference <= known:
        return known
    most, honest = MOST * claim.tolerance * size, HONEST * max(size, claim.scale_beside(direction, slopes.NEGLIGIBLE))
    if difference > known + 3 * most + honest:
        return None if _usual_noise(claim, direction, h) > most else known
    shown = said = 0.0
    for _ in range(MEASUREMENTS):
        of_forward, of_backward = _noise(claim, direction, h)
        shown = max(shown, 8 * of_forward())
        if known + shown > most + honest:
            return None
        if difference > known + 10 * shown + honest:
            break
        said = max(said, 8 * of_backward())
    return known + shown + min(said, honest)


def _usual_noise(claim: "Claim", direction: Direction, h: float) -> float:
    """As much as the noise in slopes like this one is: measured a few times for each set of values that move."""
    seen = claim.noises.setdefault(tuple(direction), [])
    length = max(slopes.norm(step) for step in direction.values())
    if len(seen) < 3 * MEASUREMENTS:
        of_forward, _ = _noise(claim, direction, h)
        seen.append(8 * of_forward() / length)
    return max(seen) * length


def _noise(claim: "Claim", direction: Direction, h: float) -> tuple[Callable[[], float], Callable[[], float]]:
    """Measure the noise in a slope, as forward shows it, and as backward says it: along a random line.

    Complex steps and dy get another length at each point, too: where a function is flat, its values alone do not
    change enough to be rounded otherwise.
    """
    aside = claim.aside()

    def shown(t: float) -> float:
        line = claim.line(direction, claim.moved(aside, t))
        if h:
            return slopes.difference(line, claim.dy, h)
        return slopes.complex_slope(line, claim.dy, step=_length(t) * slopes.COMPLEX_STEP)

    def said(t: float) -> float:
        gradients = claim.problem.backward(claim.moved(aside, t), _length(t) * claim.dy)
        parts = ((backends.to_numpy(gradients[i]), step) for i, step in direction.items())
        return sum(float(np.vdot(gradient, step)) for gradient, step in parts) / _length(t)

    return partial(slopes.noise, shown), partial(slopes.noise, said)


def noise_of_y(claim: "Claim") -> float:
    """The noise in the result of forward, relative to it: 1e-16 in float64, 1e-8 where something is float32.

    At the shortest distance at which y changes: numbers that are rounded coarsely do not between points that are too
    close. 0 where it is no noise: what a kink or a bend adds to differences of high order grows with the distance.
    """
    aside = claim.aside()

    def phi(t: float) -> float:
        return float((claim.dy * claim.problem.forward(claim.moved(aside, t))).sum())

    for short, long in pairwise(slopes.noise(phi, 2.0**-e) for e in (24, 20, 16, 12)):
        if short:
            return short / (slopes.norm(claim.dy * claim.y) or 1.0) if long < 8 * short else 0.0
    return 0.0


def _length(t: float) -> float:
    """Another factor, between 1 and 2, for each point at which noise is measured."""
    return 1 + t / slopes.NOISE_STEP / 17
