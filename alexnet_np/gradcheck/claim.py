"""A claim, the gradients that backward gives, and its comparison with slopes of forward."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import slopes
from .analytic import check_analytic, complex_twin, confirm
from .form import FormError
from .problem import Direction, Problem, Values, copies, generator
from .results import GradientError, Row
from .rounding import SATURATED, rounding as rounding_of
from .slopes import Slope

SAME = 1e-12  # relative: results of the same numbers, added in another order


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
        self.rng = generator(seed)
        self.twin: Problem | None = None
        # For each set of values that move, by their indices:
        self.analytic: set[tuple[int, ...]] = set()  # which were compared with differences
        self.noises: dict[tuple[int, ...], list[float]] = {}  # noise in slopes, for steps of length 1
        # Other inputs before ours, in two ways: a gradient must not depend on the first forward or on the last one.
        self.earlier = [self._shuffled(index) for index in range(len(problem.values))]
        self._pristine = {id(values): copies(values[: self._inputs()]) for values in (problem.values, self.earlier)}
        first = problem.forward(self.earlier)
        self._check_unwritten(self.earlier, "forward")
        lazy = problem.search()
        self.y = problem.forward(problem.values)
        self._check_unwritten(problem.values, "forward")
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
        self._check_shape(first)
        self.dy = self._normal(self.y.shape)  # never ones: they would hide a permuted dy
        self._backward(self.earlier, self._normal(self.y.shape))
        self.gradients = copies(self._backward(problem.values, self.dy))
        self._check_repeats(problem.forward(problem.values))
        for index in range(len(problem.values)):
            self._check_form(index)
        if method == "complex step":
            self.twin = complex_twin(self)

    # ---- comparisons

    def compare(self, direction: Direction) -> Comparison | None:
        """The slope in this direction by backward and by forward; None at a kink, or where rounding hides the slope.

        The error is what is left of the difference when rounding is taken off. Rounding is measured only where there is
        something to excuse.
        """
        if self.twin:
            check_analytic(self, tuple(direction))
        slope = self.slope(direction)
        if slope is None:
            return None
        analytic, numerical = self.claimed(direction), slope.value
        size = max(abs(analytic), abs(numerical), self.scale(direction)) or 1.0
        difference = abs(analytic - numerical)
        if difference > self.tolerance * size:
            excused = rounding_of(self, direction, slope.h, size, difference)
            if excused is None:
                return None
            difference = max(0.0, difference - excused)
            if self.twin and difference > self.tolerance * size:
                # Before a gradient is accused: what is wrong may be the complex step.
                confirm(self, direction, numerical, 0.1 * difference / size)
        return Comparison(analytic, numerical, difference / size)

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

    def slope(self, direction: Direction) -> Slope | None:
        """What forward shows; None at a kink."""
        if self.twin:
            rounding = SATURATED * slopes.EPS * slopes.norm(self.dy * self.y)
            return slopes.complex_step(self.line(direction), self.dy, self.scale(direction), self.tolerance, rounding)
        return self.central(direction, self.tolerance, self.scale(direction))

    def five_digits(self, direction: Direction, values: Values | None = None) -> float | None:
        """The slope at ``values`` (by default those of the claim), to five digits; None where that is impossible."""
        if self.twin:
            found = slopes.complex_step(self.line(direction, values), self.dy, 0.0, 1e-7)
        else:
            found = self.central(direction, 1e-5, 0.0, values)
        return found.value if found else None

    def line(self, direction: Direction, values: Values | None = None) -> Callable[[complex], np.ndarray]:
        """t -> y at values + t * direction."""
        forward = (self.twin or self.problem).forward
        at = self.problem.values if values is None else values

        def line(t: complex) -> np.ndarray:
            with warnings.catch_warnings():  # a cast that drops the imaginary part: check_analytic sees what matters
                warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
                return self._check_shape(forward(at, direction, t))

        return line

    def central(
        self, direction: Direction, tolerance: float, scale: float, values: Values | None = None
    ) -> Slope | None:
        """By differences, also where the method is the complex step."""
        twin, self.twin = self.twin, None
        try:
            line = self.line(direction, values)
            middle = line(0.0)
            if values is None:
                self._check_repeats(middle)
            # Where all moves at once, in a network full of kinks, large steps would be wasted.
            steps = slopes.STEPS if len(direction) == 1 else slopes.STEPS[2:]
            return slopes.central(line, self.dy, middle, scale, tolerance, steps)
        finally:
            self.twin = twin

    def aside(self) -> Values:
        """A random direction of all values."""
        return [self.random_direction(i)[i] for i in range(len(self.problem.values))]

    def moved(self, steps: Values, t: float) -> Values:
        return [value + t * step for value, step in zip(self.problem.values, steps, strict=True)]

    def claimed(self, direction: Direction) -> float:
        """What backward says."""
        return sum(float(np.vdot(self.gradients[i], step)) for i, step in direction.items())

    def scale(self, direction: Direction) -> float:
        """How large slopes typically are in directions like this one: what their errors are relative to."""
        return self.scale_beside(direction, 0.0 if self.twin else slopes.NEGLIGIBLE)

    def scale_beside(self, direction: Direction, negligible: float) -> float:
        least = negligible * slopes.norm(self.dy * self.y)
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
            noise = generator(0, 1).standard_normal(before.shape)
            array[...] = before + self.problem.backend.asarray(noise, before.dtype)
            with np.errstate(all="ignore"):
                y = self.problem.forward(self.problem.values)
            return not self.is_y(y)
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

    def is_y(self, y: np.ndarray, tolerance: float = SAME) -> bool:
        """Whether the numbers are those of the first forward, but for the order of a sum."""
        if y.shape != self.y.shape:
            return False
        return bool((np.abs(y - self.y) <= tolerance * np.abs(self.y).max()).all())

    def _check_repeats(self, y: np.ndarray) -> None:
        """ValueError where forward gives something else than the first time."""
        if not self.is_y(self._check_shape(y)):
            apart = np.abs(y - self.y).max() / (np.abs(self.y).max() or 1.0)
            raise ValueError(
                f"gradcheck: {self.problem.op}: forward is random: it gives another result for the same input "
                f"(relative difference {apart:.1e}, rounding is less than {SAME:.0e}). A random generator has to be "
                "an attribute of the layer, so that its numbers can be repeated; a result that depends on what "
                "forward changes (a counter, a running mean, a parameter) has no gradient to check"
            )

    def _check_shape(self, y: np.ndarray) -> np.ndarray:
        if y.shape != self.y.shape:
            raise ValueError(
                f"gradcheck: {self.problem.op}: expected a forward whose result has the same shape each time, got "
                f"{self.y.shape} and {y.shape} for inputs of the same shape"
            )
        return y

    def _inputs(self) -> int:
        return sum(not self.problem.is_parameter(i) for i in range(len(self.problem.values)))

    def _check_unwritten(self, values: Values, who: str) -> None:
        """Neither pass may write into the inputs or change a parameter."""
        for name, before, value in zip(self.problem.names, self._pristine[id(values)], values, strict=False):
            if not np.array_equal(before, value, equal_nan=True):
                raise self._malformed(name, f"{who} wrote into what it was given")
        if name := self.problem.changed(values):
            raise self._malformed(name, f"{who} changed this parameter, which only an optimizer may do")

    def _backward(self, values: Values, dy: np.ndarray) -> list[Any]:
        before = dy.copy()
        try:
            gradients = self.problem.backward(values, dy)
        except FormError as error:
            raise self._malformed(error.tensor, str(error)) from None
        self._check_unwritten(values, "backward")
        if not np.array_equal(before, dy):
            raise self._malformed("dy", "backward wrote into what it was given")
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
