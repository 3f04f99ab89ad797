"""Complex steps need a forward that is analytic: is this one?"""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from . import slopes
from .problem import Direction, Problem

if TYPE_CHECKING:
    from .claim import Claim

DIFFERENCES = 1e-6  # the tolerance of differences that confirm a complex step
ADVICE = "leave out complex_step: central differences take any forward"


def complex_twin(claim: "Claim") -> Problem:
    """The problem for complex values, if forward takes them."""
    where = f"gradcheck: {claim.problem.op}: complex_step"
    try:
        twin = claim.problem.complex_twin()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            y = twin.forward(claim.problem.values)
    except Exception as error:  # as where forward adds to an array of float64
        raise ValueError(
            f"{where}: expected a forward that takes complex128, also in the arrays that it keeps, got "
            f"{type(error).__name__}: {error}: {ADVICE}"
        ) from error
    if not np.iscomplexobj(y) or not claim.is_y(y.real, 1e-8):
        got = "other numbers" if np.iscomplexobj(y) else y.dtype
        raise ValueError(
            f"{where}: expected an analytic forward that takes complex128, got {got} for complex values: {ADVICE}"
        )
    return twin


def check_analytic(claim: "Claim", direction: Direction) -> None:
    """ValueError where differences, which need no complex numbers, show another slope than the complex step.

    Once for each set of values that move, in a random direction, before any gradient of theirs is judged.
    """
    key = tuple(direction)
    for attempt in range(slopes.TRIES):
        if key in claim.analytic:
            return
        density = 0.5**attempt
        step = claim.random_direction(key[0], density) if len(key) == 1 else claim.joint_direction(density)
        scale = claim.scale_beside(step, slopes.NEGLIGIBLE)
        found, slope = claim.slope(step), claim.central(step, DIFFERENCES, scale)
        if found is None or slope is None:  # at a kink: another direction will tell
            continue
        claim.analytic.add(key)
        if abs(slope.value - found.value) > 100 * DIFFERENCES * max(abs(found.value), abs(slope.value), scale):
            raise ValueError(
                f"gradcheck: {claim.problem.op}: complex_step: expected an analytic forward, got one whose complex "
                f"step ({found.value:.6g}) is not its slope ({slope.value:.6g} by central differences): something "
                "in it drops or conjugates the imaginary part, as np.abs, np.var, np.conj, .real and a copy into a "
                f"float array do: {ADVICE}"
            )
    claim.analytic.add(key)  # kinks everywhere: nobody can tell
