"""Complex steps need a forward that is analytic: is this one?"""

import warnings
from typing import TYPE_CHECKING

import numpy as np

from . import slopes
from .problem import Direction, Problem
from .rounding import FEW_DIGITS, noise_of_y

if TYPE_CHECKING:
    from .claim import Claim

DIFFERENCES = 1e-6  # the tolerance of differences that confirm a complex step, before any gradient is judged
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


def check_analytic(claim: "Claim", key: tuple[int, ...]) -> None:
    """Compare a complex step with differences once for each set of values that move, before gradients are judged.

    Otherwise a wrong gradient could pass that is what the wrong complex step says.
    """
    if key in claim.analytic:
        return
    claim.analytic.add(key)
    for attempt in range(slopes.TRIES):
        density = 0.5**attempt
        step = claim.random_direction(key[0], density) if len(key) == 1 else claim.joint_direction(density)
        found = claim.slope(step)
        if found and confirm(claim, step, found.value, DIFFERENCES):  # else at a kink: another direction will tell
            return


def confirm(claim: "Claim", direction: Direction, found: float, tolerance: float) -> bool:
    """ValueError where central differences, which need no complex numbers, show another slope than the complex step.

    False where they show none: at a kink, or if ``tolerance`` is too small for them.
    """
    scale = max(abs(found), claim.scale_beside(direction, slopes.NEGLIGIBLE))
    slope = claim.central(direction, tolerance, scale)
    # Differences are right to about ``tolerance``, if y has its digits: what is off by five of them is another slope.
    differs = slope is not None and abs(slope.value - found) > 5 * tolerance * max(scale, abs(slope.value))
    if slope and differs and noise_of_y(claim) < FEW_DIGITS:
        raise ValueError(
            f"gradcheck: {claim.problem.op}: complex_step: expected an analytic forward, got one whose complex "
            f"step ({found:.6g}) is not its slope ({slope.value:.6g} by central differences): something "
            "in it drops or conjugates the imaginary part, as np.abs, np.var, np.conj, .real and a copy into a "
            f"float array do: {ADVICE}"
        )
    return slope is not None
