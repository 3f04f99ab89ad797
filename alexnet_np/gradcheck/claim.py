"""A claim, the gradients that backward gives, and its comparison with slopes of forward."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import slopes
from .problem import Direction, Problem, Values, copies
from .results import GradientError, Row

NEGLIGIBLE = 1e-3  # slopes this small beside y count as 0: differences of y cannot show them well


@dataclass(frozen=True)
class Comparison:
    """One slope, by backward and by forward."""

    analytic: float
    numerical: float
    error: float  # relative
    index: tuple[int, ...] | None = None  # of the entry, where only one moved


class Claim:
    """The gradients that backward gives for a random dy.

    Raises GradientError where they have the wrong form, ValueError where forward does not allow a check.
    """

    def __init__(self, problem: Problem, method: str, tolerance: float, seed: int) -> None:
        self.problem, self.method, self.tolerance = problem, method, tolerance
        self.rng = np.random.default_rng(seed)
        # Other inputs before ours, in two ways: a gradient must not depend on the first forward or on the last one.
        self.earlier = [self._shuffled(index) for index in range(len(problem.values))]
        problem.forward(self.earlier)
        lazy = problem.search()
        self.y = np.array(problem.forward(problem.values))
        # Made by the first forward, and not anew by the second one: no activations.
        known = [array for _, array in problem.unlisted]
        made = [(name, array) for name, array in lazy if not any(array is other for other in known)]
        now = dict(problem.search()) if made else {}
        self.unlisted = [*problem.unlisted, *(found for found in made if now.get(found[0]) is found[1])]
        if self.y.dtype != np.float64:
            raise TypeError(f"gradcheck: {problem.op}: y: expected a result of forward in float64, got {self.y.dtype}")
        if not self.y.size:
            raise ValueError(f"gradcheck: {problem.op}: y: expected at least one number, got shape {self.y.shape}")
        if not np.isfinite(self.y).all():
            raise ValueError(f"gradcheck: {problem.op}: expected a finite result of forward, got NaN or infinity in it")
        self.dy = self._normal(self.y.shape)  # never ones: they would hide a permuted dy
        problem.backward(self.earlier, self._normal(self.y.shape))
        self.gradients = self._gradients()
        if not self.is_y(problem.forward(problem.values)):
            raise ValueError(
                f"gradcheck: {problem.op}: forward gives another result for the same input. A random generator has to "
                "be an attribute of the layer, so that its numbers can be repeated; a result that depends on what "
                "forward changes (a counter, a running mean, a parameter) has no gradient to check"
            )
        for index in range(len(problem.values)):
            self._check_form(index)
        self.twin = self._complex_twin() if method == "complex step" else None

    # ---- comparisons

    def compare(self, direction: Direction) -> Comparison | None:
        """The slope in this direction by backward and by forward; None at a kink."""
        numerical = self.slope(direction)
        if numerical is None:
            return None
        analytic = self.claimed(direction)
        size = max(abs(analytic), abs(numerical), self.scale(direction)) or 1.0
        return Comparison(analytic, numerical, abs(analytic - numerical) / size)

    def compare_entry(self, index: int, position: int) -> Comparison | None:
        """One entry of a tensor's gradient by backward and by forward; None at a kink."""
        unit = self.unit(index)
        step = np.zeros(self.gradients[index].shape)
        step.flat[position] = unit
        found = self.compare({index: step})
        if found is None:
            return None
        place = tuple(int(i) for i in np.unravel_index(position, step.shape))
        return Comparison(found.analytic / unit, found.numerical / unit, found.error, place)

    def slope(self, direction: Direction, values: Values | None = None) -> float | None:
        """What forward shows, at ``values`` (by default those of the claim); None at a kink."""
        forward = (self.twin or self.problem).forward
        line = partial(forward, self.problem.values if values is None else values, direction)
        if self.twin:
            return slopes.complex_step(line, self.dy)
        # Where all moves at once, in a network full of kinks, large steps would be wasted.
        steps = slopes.STEPS if len(direction) == 1 else slopes.STEPS[2:]
        return slopes.central(line, self.dy, self.scale(direction), self.tolerance, steps)

    def claimed(self, direction: Direction) -> float:
        """What backward says."""
        return sum(float(np.vdot(self.gradients[i], step)) for i, step in direction.items())

    def scale(self, direction: Direction) -> float:
        """How large slopes typically are in directions like this one."""
        least = NEGLIGIBLE * slopes.norm(self.dy * self.y)
        return slopes.norm(
            [
                max(slopes.norm(self.gradients[i]), least / self.unit(i))
                * slopes.norm(step)
                / np.sqrt(max(step.size, 1))
                for i, step in direction.items()
            ]
        )

    # ---- directions

    def unit(self, index: int) -> float:
        """The typical size of a tensor's entries: what its steps are measured in."""
        value = self.problem.values[index]
        return slopes.norm(value) / np.sqrt(max(value.size, 1)) or 1.0

    def random_direction(self, index: int, density: float = 1.0) -> Direction:
        """Random steps of about this part of one tensor's entries, of at least one."""
        step = self._normal(self.problem.values[index].shape)
        step *= self.unit(index)
        if density < 1:
            step *= self.rng.random(step.shape) < density
            step.flat[self.rng.integers(step.size)] = self.unit(index)
        return {index: step}

    def joint_direction(self, density: float = 1.0) -> Direction:
        """Random steps of all tensors, each of the length that gives it the same part in the slope."""
        steps = {i: self.random_direction(i, density)[i] for i in range(len(self.problem.values))}
        parts = {i: self.scale({i: step}) for i, step in steps.items()}
        least = min((part for part in parts.values() if part), default=0.0)
        for i, step in steps.items():
            if parts[i]:
                step *= least / parts[i]
        return steps

    # ---- before anything is compared

    def depends_on(self, array: Any) -> bool:
        """Whether the result of forward changes with an array of the layer's object. The array is left as it was."""
        flags = getattr(array, "flags", None)
        read_only = not getattr(flags, "writeable", True)
        before = array.copy()
        try:
            if read_only:
                array.setflags(write=True)
        except ValueError:  # it is of somebody who keeps it from being written
            return False
        try:
            noise = np.random.default_rng(0).standard_normal(before.shape)
            array[...] = before + self.problem.backend.asarray(noise, before.dtype)
            with np.errstate(all="ignore"):
                y = self.problem.forward(self.problem.values)
            return y.shape != self.y.shape or not self.is_y(y)
        except Exception:  # a forward that refuses the other numbers has looked at them
            return True
        finally:
            array[...] = before
            if read_only:
                array.setflags(write=False)

    def _normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.asarray(self.rng.standard_normal(shape))

    def _shuffled(self, index: int) -> np.ndarray:
        """Another input of a kind that forward takes; parameters as they are."""
        value = self.problem.values[index]
        return value if self.problem.is_parameter(index) else self.rng.permutation(value.ravel()).reshape(value.shape)

    def is_y(self, y: np.ndarray) -> bool:
        """Whether the numbers are those of the first forward, but for the order of a sum."""
        return np.allclose(y, self.y, rtol=1e-10, atol=1e-10 * np.abs(self.y).max(initial=0))

    def _gradients(self) -> list[Any]:
        """What backward gives. Neither pass may write into what it was given."""
        problem = self.problem
        given = {name: x for i, (name, x) in enumerate(problem.items()) if not problem.is_parameter(i)} | {
            "dy": self.dy
        }
        before = {name: array.copy() for name, array in given.items()}
        gradients = copies(problem.backward(problem.values, self.dy))
        for name, array in given.items():
            if not np.array_equal(array, before[name]):
                raise self._malformed(name, "forward or backward wrote into what it was given")
        if len(gradients) < len(problem.names):
            expected = f"expected backward to give a gradient for each of {', '.join(problem.names)}"
            raise self._malformed(problem.names[-1], f"{expected}, got {len(gradients)}")
        return gradients

    def _check_form(self, index: int) -> None:
        """A gradient has its tensor's shape and dtype, and is finite."""
        name, value, gradient = self.problem.names[index], self.problem.values[index], self.gradients[index]
        if gradient is None:
            raise self._malformed(name, f"expected a gradient{self.problem.where(index)}, got None")
        if gradient.shape != value.shape:
            transposed = sorted(gradient.shape) == sorted(value.shape)
            mistake = "axes are exchanged: a transposed matrix" if transposed else ""
            raise self._malformed(name, f"expected a gradient of shape {value.shape}, got {gradient.shape}", mistake)
        if gradient.dtype != value.dtype:
            raise self._malformed(name, f"expected a gradient in {value.dtype}, got {gradient.dtype}")
        if not np.isfinite(gradient).all():
            raise self._malformed(name, "expected a finite gradient, got NaN or infinity in it")

    def _malformed(self, tensor: str, message: str, mistake: str = "") -> GradientError:
        worst = float("inf")
        return GradientError(
            f"{tensor}: {message}", Row(self.problem.op, tensor, self.method, self.tolerance, worst, 0, 0, mistake)
        )

    def _complex_twin(self) -> Problem:
        """The problem for complex values, if it is analytic as far as one can see."""
        try:
            twin = self.problem.complex_twin()
            y = twin.forward(self.problem.values)
        except Exception as error:  # as where forward adds to an array of float64
            raise ValueError(
                f"gradcheck: {self.problem.op}: complex_step: expected a forward that takes complex128, also in the "
                f"arrays that it keeps, got {type(error).__name__}: {error}: use central differences"
            ) from error
        if not np.iscomplexobj(y) or not self.is_y(y.real):
            raise ValueError(
                f"gradcheck: {self.problem.op}: complex_step: expected an analytic forward that takes complex128, "
                f"got {'other numbers' if np.iscomplexobj(y) else y.dtype} for complex values: use central differences"
            )
        return twin
