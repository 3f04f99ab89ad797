"""Name the likely mistake in a wrong gradient.

A mistake in backward usually leaves a gradient that would be right for something else: right but for a
factor, right if it were turned by 180 degrees, right for a transposed weight, right for the input of the
step before. Each of these can be put to the test with a few slopes, as in the check itself, and named if it fits.

If the wrong gradient is g = T(dx) for a rearrangement T of entries, then <g, u> = <dx, T'(u)>: the slope
in the direction rearranged the other way.

A guess is only named if it is told apart from the others. Slopes of 0 fit everything, so they prove nothing. Where
two or three guesses fit, all are named; where more do, none.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from math import prod
from typing import TypeAlias

import numpy as np

from .claim import Claim
from .problem import Values, copies

Array: TypeAlias = np.ndarray

FIT = 1e-4  # relative error below which an explanation fits
PROBES = 4  # slopes that have to fit
SHIFTS = (-3, -2, -1, 1, 2, 3)
MOST_GUESSES = 3


def likely_mistake(claim: Claim, index: int, smooth: Array) -> str:
    """One sentence, or "" where no explanation fits. ``smooth`` is 0 at entries that are on a kink, else 1."""
    if not claim.gradients[index].any():
        return "the gradient is 0 everywhere: perhaps it was never written"
    suspicion = Suspicion(claim, index, smooth)
    if suspicion.fits(within=5 * FIT):
        return "it is right to four digits: it is rounded somewhere (float32?), or small terms are missing"
    explanations = (_added, _factor, _zeros, _stale, _wrong_axes, _rearranged, _shifted, _other_tensor)
    guesses = [guess for explain in explanations for guess in explain(suspicion)]
    if len(guesses) > MOST_GUESSES:
        return ""
    return f"one of these: {'; or '.join(guesses)}" if len(guesses) > 1 else "".join(guesses)


@dataclass(frozen=True)
class Suspicion:
    """A wrong gradient, and what it would be right for."""

    claim: Claim
    index: int
    smooth: Array

    @property
    def gradient(self) -> Array:
        return self.claim.gradients[self.index]

    def direction(self) -> Array:
        """A random one without the entries on a kink."""
        return self.claim.random_direction(self.index)[self.index] * self.smooth

    def slope(self, step: Array, values: Values | None = None) -> float | None:
        """To five digits of its own, however large the wrong gradient is."""
        return self.claim.five_digits({self.index: step}, values)

    def fits(
        self,
        rearrange: Callable[[Array], Array] | None = None,
        values: Values | None = None,
        mask: Array | None = None,
        gradient: Array | None = None,
        within: float = FIT,
    ) -> bool:
        """Whether slopes in a few random directions are what the gradient says, and not 0.

        With ``rearrange``: slopes in the rearranged directions; with ``values``: slopes elsewhere; with ``mask``:
        in directions that are 0 where it is; with ``gradient``: what another gradient says. ``within`` is the relative
        error.
        """
        claimed = self.gradient if gradient is None else gradient
        said: list[float] = []
        shown: list[float] = []
        for _ in range(PROBES):
            step = self.direction() if mask is None else self.direction() * mask
            slope = self.slope(step if rearrange is None else rearrange(step), values)
            if slope is None:
                return False
            said.append(float((claimed * step).sum()))
            shown.append(slope)
            if abs(said[-1] - slope) > 0.1 * max(map(abs, shown)):  # far off: no more slopes are needed
                return False
        return any(shown) and bool(np.linalg.norm(np.subtract(said, shown)) <= within * np.linalg.norm(shown))


def _added(it: Suspicion) -> list[str]:
    problem = it.claim.problem
    if not problem.is_parameter(it.index):  # that of an input is returned
        return []
    cleared = copies(problem.backward(problem.values, it.claim.dy, clear=True))[it.index]
    added = it.fits(gradient=cleared)
    return ["the gradient is added to that of the backward before: it has to be written"] if added else []


def _factor(it: Suspicion) -> list[str]:
    ratios = []
    for _ in range(PROBES):
        step = it.direction()
        slope = it.slope(step)
        if not slope:
            return []
        ratios.append(float((it.gradient * step).sum()) / slope)
    factor = float(np.median(ratios))
    if not factor or max(abs(ratio / factor - 1) for ratio in ratios) > FIT:
        return []
    if np.isclose(factor, -1, rtol=FIT):
        return ["the sign is wrong"]
    sign = "minus " if factor < 0 else ""
    for value, name in _counts(it.claim.y.shape).items():
        if np.isclose(abs(factor), value, rtol=FIT):
            return [f"it is too large by {sign}{name}: a factor too many, or a sum where forward takes a mean"]
        if np.isclose(abs(factor), 1 / value, rtol=FIT):
            return [f"it is too small by {sign}{name}: a factor forgotten, or a mean where forward takes a sum"]
    # Of a single number this could always be said.
    several = np.count_nonzero(it.gradient * it.smooth) > 1
    return [f"it is {factor:.6g} times what it should be"] if several else []


def _counts(shape: tuple[int, ...]) -> dict[int, str]:
    """What a factor may come from: 2, and the sizes of the result."""
    counts = {prod(shape): ["the elements of the result"]}
    if len(shape) == 4:
        pixels = shape[1] * shape[2]
        counts.setdefault(shape[0] * pixels, []).append("the pixels of all images of the result")
        counts.setdefault(pixels, []).append("the pixels of an image of the result")
    if len(shape) >= 2:
        counts.setdefault(shape[-1], []).append("the channels of the result")
        counts.setdefault(shape[0], []).append("the batch size N")
    names = {count: f"{count} ({' or '.join(what)})" for count, what in counts.items()}
    return names | {2: f"2 (perhaps {' or '.join(counts[2])})" if 2 in counts else "2"}


def _zeros(it: Suspicion) -> list[str]:
    mask = (it.gradient != 0).astype(float)
    if mask.all() or not it.fits(mask=mask):
        return []
    return ["it is right except where it is 0: entries are missing (a mask, a border, a loop that ends too early)"]


def _stale(it: Suspicion) -> list[str]:
    stale = it.fits(values=it.claim.earlier)
    return ["it belongs to the input of a forward before: backward uses a stale input"] if stale else []


def _wrong_axes(it: Suspicion) -> list[str]:
    """A bias that is added along the last axis has the sum over all others for its gradient."""
    gradient, dy = it.gradient, it.claim.dy
    if gradient.ndim != 1 or dy.ndim < 2 or gradient.size != dy.shape[-1]:
        return []
    last = dy.ndim - 1
    right = dy.sum(axis=tuple(range(last)))
    if not it.fits(gradient=right):
        return []
    for kept in range(dy.ndim):
        others = [axis for axis in range(dy.ndim) if axis != kept]
        for count in range(dy.ndim):
            for axes in combinations(others, count):
                total = dy.sum(axis=axes, keepdims=True)
                first = total[tuple(slice(None) if axis == kept else 0 for axis in range(dy.ndim))]
                if first.shape == gradient.shape and np.allclose(first, gradient, rtol=FIT, atol=0):
                    return [f"dy is summed over the wrong axes: over {axes} instead of {tuple(range(last))}"]
    return []


def _rearranged(it: Suspicion) -> Iterator[str]:
    for change, hint, rearrange in _rearrangements(it.gradient.shape):
        if it.fits(rearrange):  # reversals and exchanges undo themselves: T' = T
            yield f"it would be right {change}: {hint}"


def _other_tensor(it: Suspicion) -> Iterator[str]:
    """The gradient would be right if another tensor, say the weight, were rearranged."""
    problem = it.claim.problem
    for other, value in enumerate(problem.values):
        if other == it.index:
            continue
        for change, hint, rearrange in _rearrangements(value.shape):
            values = [*problem.values]
            values[other] = rearrange(value)
            if it.fits(values=values):
                yield f"it would be right for {problem.names[other]} {change}: {hint}"


def _rearrangements(shape: tuple[int, ...]) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Ways to rearrange an array that leave its shape: in words, the mistake that they tell of, and the function."""
    if len(shape) == 4:
        for axes in ((0, 1), (1, 2)):  # those of kernels, those of images
            if max(shape[axis] for axis in axes) > 1:
                hint = "a missing flip of the kernel, or one too many"
                yield f"turned by 180 degrees in axes {axes}", hint, partial(np.flip, axis=axes)
    for first, second in combinations(range(len(shape)), 2):
        if shape[first] == shape[second] > 1:
            hint = "a transposed matrix" if len(shape) == 2 else "axes in another order"
            yield f"with axes {first} and {second} exchanged", hint, partial(np.swapaxes, axis1=first, axis2=second)


def _shifted(it: Suspicion) -> Iterator[str]:
    """Off by some rows or columns. Nothing is asked of the border that the shift has filled.

    At least half of the entries must be left, and must be wrong where they are.
    """
    shape = it.gradient.shape
    if len(shape) != 4:
        return
    for rows, columns in ((1, 2), (0, 1)):  # the axes of images, those of kernels
        for shift, axes in product(SHIFTS, ((rows, columns), (rows,), (columns,))):
            if rows == 0 and axes == (1,):  # axis 1 is among those of images, too
                continue
            kept = slice(shift, None) if shift > 0 else slice(None, shift)
            mask = np.zeros(shape)
            mask[tuple(kept if axis in axes else slice(None) for axis in range(4))] = 1
            if mask.mean() < 0.5:
                continue
            back = partial(np.roll, shift=[-shift] * len(axes), axis=axes)
            if it.fits(back, mask=mask) and not it.fits(mask=mask):
                yield f"it is shifted by {shift:+d} along axis {' and '.join(map(str, axes))}: a wrong pad"
