"""A claim, the gradients that backward gives, and its comparison with slopes of forward."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from . import slopes
from .analytic import check_analytic, complex_twin, confirm
from .passes import Passes
from .problem import Direction, Problem, Values
from .rounding import SATURATED, rounding as rounding_of
from .slopes import Slope


@dataclass(frozen=True)
class Comparison:
    """One slope, by backward and by forward."""

    analytic: float
    numerical: float
    error: float  # relative
    index: tuple[int, ...] | None = None  # of the entry, where only one moved


class Claim(Passes):
    """The gradients that backward gives for a random dy, to be compared with slopes. Errors: see ``Passes``."""

    def __init__(self, problem: Problem, method: str, tolerance: float, seed: int) -> None:
        super().__init__(problem, method, tolerance, seed)
        # For each set of values that move, by their indices:
        self.analytic: set[tuple[int, ...]] = set()  # which were compared with differences
        self.accused: set[tuple[int, ...]] = set()  # whose gradients differ from complex steps and differences alike
        self.noises: dict[tuple[int, ...], list[float]] = {}  # noise in slopes, for steps of length 1
        self.twin: Problem | None = complex_twin(self) if method == "complex step" else None

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
            key = tuple(direction)
            # Before a gradient is accused: what is wrong may be the complex step.
            accuse = self.twin and difference > self.tolerance * size and key not in self.accused
            if accuse and confirm(self, direction, numerical, 0.1 * difference / size):
                self.accused.add(key)
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

    def line(
        self, direction: Direction, values: Values | None = None, problem: Problem | None = None
    ) -> Callable[[complex], np.ndarray]:
        """t -> y at values + t * direction. By default of the problem that the method evaluates."""
        forward = (problem or self.twin or self.problem).forward
        at = self.problem.values if values is None else values

        def line(t: complex) -> np.ndarray:
            with warnings.catch_warnings():  # a cast that drops the imaginary part: check_analytic sees what matters
                warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
                return self.check_shape(forward(at, direction, t))

        return line

    def central(
        self, direction: Direction, tolerance: float, scale: float, values: Values | None = None
    ) -> Slope | None:
        """By differences, also where the method is the complex step."""
        line = self.line(direction, values, self.problem)
        middle = line(0.0)
        if values is None:
            self.check_repeats(middle)
        # Where all moves at once, in a network full of kinks, large steps would be wasted.
        steps = slopes.STEPS if len(direction) == 1 else slopes.STEPS[2:]
        return slopes.central(line, self.dy, middle, scale, tolerance, steps)

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
        step = self.normal(self.problem.values[index].shape)
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
