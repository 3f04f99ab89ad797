"""Forward and backward of what is checked: run, and refused where they do what no gradient check allows."""

from typing import Any

import numpy as np

from .form import FormError
from .problem import Problem, Values, copies, generator
from .results import GradientError, Row

SAME = 1e-12  # relative: results of the same numbers, added in another order


class Passes:
    """A forward, and a backward for a random dy: ``y`` and the ``gradients`` that backward claims.

    Raises GradientError where the gradients have the wrong form, or something is written that must not be; ValueError
    where forward does not allow a check.
    """

    def __init__(self, problem: Problem, method: str, tolerance: float, seed: int) -> None:
        self.problem, self.method, self.tolerance = problem, method, tolerance
        self.rng = generator(seed)
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
        self.check_shape(first)
        self.dy = self.normal(self.y.shape)  # never ones: they would hide a permuted dy
        self._backward(self.earlier, self.normal(self.y.shape))
        self.gradients = copies(self._backward(problem.values, self.dy))
        self.check_repeats(problem.forward(problem.values))
        for index in range(len(problem.values)):
            self._check_form(index)

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

    def normal(self, shape: tuple[int, ...]) -> np.ndarray:
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

    def check_repeats(self, y: np.ndarray) -> None:
        """ValueError where forward gives something else than the first time."""
        if not self.is_y(self.check_shape(y)):
            apart = np.abs(y - self.y).max() / (np.abs(self.y).max() or 1.0)
            raise ValueError(
                f"gradcheck: {self.problem.op}: forward is random: it gives another result for the same input "
                f"(relative difference {apart:.1e}, rounding is less than {SAME:.0e}). A random generator has to be "
                "an attribute of the layer, so that its numbers can be repeated; a result that depends on what "
                "forward changes (a counter, a running mean, a parameter) has no gradient to check"
            )

    def check_shape(self, y: np.ndarray) -> np.ndarray:
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
