"""check and check_function: run the comparisons, raise for the worst."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from .claim import Claim, Comparison
from .diagnosis import likely_mistake
from .function import FunctionProblem
from .layer import LayerProblem
from .network import check_in_network
from .problem import Direction, Problem
from .results import GradientError, Result, Row, UnlistedArrays
from .rounding import FEW_DIGITS, noise_of_y
from .slopes import TRIES

DIRECTIONS = 3  # random ones for each tensor
REACHED = 1e-8  # a tolerance that differences of float64 numbers reach for smooth functions of ordinary size
SEARCHED = 400  # entries of a wrong gradient that are looked at to find the worst


def check(
    layer: Any,
    inputs: Sequence[Any],
    *,
    params: Mapping[str, str | None] | None = None,
    training: bool = False,
    every_entry: bool = False,
    complex_step: bool = False,
    together: bool = False,
    seed: int = 0,
    tolerance: float | None = None,
) -> Result:
    """Check the gradients that ``layer.backward`` gives for every input and every parameter that is not frozen.

        gradcheck.check(layers.Conv2d(3, 5, 3).to("reference", "float64"), (x,))

    ``layer`` is any object with ``forward(x)`` and ``backward(dy)``, and ``parameters()`` (each with name,
    data and grad) where it has any; or ``params`` names its arrays and where backward writes their gradients:

        gradcheck.check(layer, (x,), params={"W": "dW", "head.b": "head.db"})   # dots lead into objects and dicts

    Inputs and parameters are float64. dy is random. Random masks
    are the same in all evaluations; parameters, gradients and random generators are left as they were.

    The warning UnlistedArrays names arrays that forward depends on and that nobody listed. ``params={"mean": None}``
    says of one that it is not learned.

    A ``layers.Layer`` is also put between others in a ``Sequential``: that has to give what the layer alone gives, the
    same parameters' gradients with ``input_grad=False``, and twice those with ``accumulate=True`` after a backward.

    By default the slopes in three random directions are compared with central differences, tensor by tensor.

    every_entry    every single entry instead of random directions: for small tensors
    complex_step   complex steps instead of differences, which are exact to rounding: for a forward made of
                   analytic functions. Off their kinks ReLU and max-pooling count, too, as NumPy compares complex
                   numbers by their real parts first. Others (np.abs, np.var, .real) raise ValueError. This package's
                   layers are copied to "reference" for it
    together       a direction through all tensors at once: for whole networks, where a forward is dear
    seed           of dy and the directions
    tolerance      on the relative error: 1e-7, or 1e-12 with ``complex_step``. A slope's error is relative to the
                   slope, or to the size that slopes have in such directions, whichever is larger. Rounding comes on
                   top: docs/gradcheck.md

    Raises GradientError with the worst entry and the likely mistake; TypeError where something is not
    float64; ValueError where forward cannot be checked (it is random, gives NaN, is not analytic).
    """
    if not isinstance(inputs, Sequence) or not inputs:
        got = "none" if isinstance(inputs, Sequence) else type(inputs).__name__
        raise TypeError(f"gradcheck: inputs: expected a tuple of arrays, (x,) for one, got {got}")
    problem = LayerProblem(layer, inputs, training, params=params)
    return _run(problem, every_entry, complex_step, together, seed, tolerance)


def check_function(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    every_entry: bool = False,
    complex_step: bool = False,
    seed: int = 0,
    tolerance: float | None = None,
) -> Result:
    """Check a pair of functions: ``y, saved = forward(*inputs)`` and ``gradients = backward(dy, saved)``.

        gradcheck.check_function(kernels.conv2d_forward, kernels.conv2d_backward, (x, w, b, 2, 1))

    Inputs that are float64 arrays are differentiated, others (labels, sizes, None) passed on. Backward
    returns a gradient for each of the former, or for each input. Options and errors: see ``check``.
    """
    return _run(FunctionProblem(forward, backward, inputs), every_entry, complex_step, False, seed, tolerance)


def _run(
    problem: Problem, every_entry: bool, complex_step: bool, together: bool, seed: int, tolerance: float | None
) -> Result:
    if tolerance is None:
        tolerance = 1e-12 if complex_step else 1e-7
    if isinstance(tolerance, bool) or not isinstance(tolerance, Real) or not 0 < tolerance < 1:
        raise ValueError(f"gradcheck: tolerance: expected a number between 0 and 1, as 1e-7, got {tolerance!r:.200}")
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"gradcheck: seed: expected a whole number, 0 or more, got {seed!r:.200}")
    method = "complex step" if complex_step else "entries" if every_entry else "directions"
    try:
        claim = Claim(problem, method, tolerance, seed)
        _warn_of_unlisted(claim)
        if together:
            # One direction is enough: no tensor's part in the slope is small.
            found = list(_in_directions(claim, claim.joint_direction, 1))
            result = Result([_row(claim, f"all {len(problem.names)}", found)])
            if result.ok:
                check_in_network(claim)
                return result
        compare = _of_every_entry if every_entry else _in_random_directions
        compared = [list(compare(claim, index)) for index in range(len(problem.names))]
        result = Result([_row(claim, name, found) for name, found in zip(problem.names, compared, strict=True)])
        if not result.ok:
            raise _error(claim, result, compared)
        check_in_network(claim)
        return result
    finally:
        problem.restore()


def _warn_of_unlisted(claim: Claim) -> None:
    problem = claim.problem
    names = [name for name, array in claim.unlisted if claim.depends_on(array)]
    if names:
        message = (
            f"gradcheck: {problem.op}: forward depends on {', '.join(names)}, which nobody listed, so no gradient of "
            f'it is checked. Name each with the gradient that backward writes, params={{"{names[0]}": "..."}}; or say '
            f'that it is not learned, params={{"{names[0]}": None}}'
        )
        warnings.warn(message, UnlistedArrays, stacklevel=4)


def _row(claim: Claim, tensor: str, found: list[Comparison | None]) -> Row:
    errors = [comparison.error for comparison in found if comparison]
    worst = max(errors, default=float("nan"))
    return Row(claim.problem.op, tensor, claim.method, claim.tolerance, worst, len(errors), len(found) - len(errors))


def _in_random_directions(claim: Claim, index: int) -> Iterator[Comparison | None]:
    return _in_directions(claim, partial(claim.random_direction, index), DIRECTIONS)


def _in_directions(claim: Claim, draw: Callable[[float], Direction], count: int) -> Iterator[Comparison | None]:
    """Comparisons in ``count`` directions that ``draw`` gives for a density; None for each that met a kink."""
    for _ in range(count):
        for attempt in range(TRIES):
            comparison = claim.compare(draw(0.5**attempt))
            yield comparison
            if comparison:
                break


def _of_every_entry(claim: Claim, index: int) -> Iterator[Comparison | None]:
    for position in range(claim.gradients[index].size):
        yield claim.compare_entry(index, position)


def _error(claim: Claim, result: Result, compared: list[list[Comparison | None]]) -> GradientError:
    """What to raise for a failed check: about the worst tensor."""
    wrong = [row for row in result if row.verdict == "wrong"]
    noise = noise_of_y(claim)
    if noise > FEW_DIGITS:
        return _few_digits(next(row for row in result if row.verdict != "right"), noise)
    if not wrong:
        return _nothing_to_compare(claim, next(row for row in result if row.verdict != "right"))

    row = max(wrong, key=lambda row: row.error)
    index = claim.problem.names.index(row.tensor)
    looked_at = {position: claim.compare_entry(index, position) for position in _suspects(claim, index)}
    entries = [entry for entry in looked_at.values() if entry]
    bad = [entry for entry in entries if entry.error > claim.tolerance]
    # To the two digits that are printed, errors are often equal: then the largest difference is shown.
    worst = max(
        bad or filter(None, compared[index]), key=lambda it: (float(f"{it.error:.1e}"), abs(it.analytic - it.numerical))
    )
    where = f"{row.tensor}[{', '.join(map(str, worst.index))}]" if worst.index is not None else "a random direction"
    lines = [
        f"the gradient of {row.tensor} is wrong",
        f"at {where}: analytic {worst.analytic:.6g}, numerical {worst.numerical:.6g}, relative error {worst.error:.1e}",
        f"wrong in {len(bad)} of {len(entries)} entries compared" + _pattern(bad, claim.gradients[index].shape),
    ]
    if others := [f"{other.tensor} (relative error {other.error:.1e})" for other in wrong if other is not row]:
        lines.append("wrong, too: " + ", ".join(others))
    smooth = np.ones(claim.gradients[index].shape)
    smooth.flat[[position for position, entry in looked_at.items() if entry is None]] = 0
    row = replace(row, mistake=likely_mistake(claim, index, smooth))
    return GradientError("\n  ".join(lines), row, worst.index, worst.analytic, worst.numerical)


def _nothing_to_compare(claim: Claim, row: Row) -> GradientError:
    """What to raise where no direction had a slope."""
    message = (
        f"{row.tensor}: no slope to compare the gradient with: kinks or ties in every direction (ReLU at 0, equal "
        "pixels in a pooling window), slopes so small that they drown in rounding errors, or a forward that bends "
        "within a millionth of x, as sin(1e6 * x) does"
    )
    if not claim.twin and claim.tolerance < REACHED:
        message += (
            f"; or the tolerance of {claim.tolerance:.0e}: differences seldom agree within less than {REACHED:.0e}"
        )
    mistake = "in the input: draw one without ties, say by gradcheck.kink_free"
    return GradientError(message, replace(row, mistake=mistake))


def _few_digits(row: Row, noise: float) -> GradientError:
    message = (
        f"{row.tensor}: no slope to compare the gradient with: the result of forward carries noise of {noise:.0e} of "
        "its size, where float64 has 1e-16: forward computes in float32 somewhere, or subtracts numbers that are "
        "almost equal"
    )
    return GradientError(message, replace(row, error=float("nan"), kinks=row.kinks + row.compared, compared=0))


def _suspects(claim: Claim, index: int) -> Iterable[int]:
    """Where to look: everywhere in a small tensor; in a large one at the largest gradients, and at random."""
    gradient = claim.gradients[index]
    if gradient.size <= SEARCHED:
        return range(gradient.size)
    largest = np.argsort(np.abs(gradient), axis=None)[-SEARCHED // 2 :]
    return map(int, [*largest, *claim.rng.integers(gradient.size, size=SEARCHED // 2)])


def _pattern(bad: list[Comparison], shape: tuple[int, ...]) -> str:
    """Where the wrong entries are, if they keep to one half of an axis or less: to a border, to a group."""
    parts = []
    for axis, size in enumerate(shape):
        seen = sorted({entry.index[axis] for entry in bad if entry.index})
        if 0 < len(seen) <= size / 2:
            parts.append(f"index {', '.join(map(str, seen))} of axis {axis}")
    return ", all at " + " and ".join(parts) if parts else ""
