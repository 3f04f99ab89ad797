"""A pair of functions to be checked, forward and backward."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from inspect import signature
from typing import Any

import numpy as np

from .. import backend as backends
from . import attributes
from .form import FormError, arrays_in, check_same, for_each, gradients, kind, result
from .problem import Direction, Problem, Values, copies, moved


class FunctionProblem(Problem):
    """A pair of functions: ``y, saved = forward(*inputs)`` and ``gradients = backward(dy, saved)``.

    Arrays of real numbers are differentiated; what else is among the inputs (labels, sizes, None) is passed on.
    """

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any], inputs: Sequence[Any]) -> None:
        if not isinstance(inputs, Sequence) or isinstance(inputs, str):
            raise TypeError(f"gradcheck: inputs: expected a tuple, (x,) for one, got {type(inputs).__name__}")
        for name, function in (("forward", forward), ("backward", backward)):
            if not callable(function):
                raise TypeError(f"gradcheck: {name}: expected a function, got {type(function).__name__}")
        self.op = getattr(forward, "__name__", repr(forward))
        self._forward, self._backward, self._inputs = forward, backward, list(inputs)
        codes = [getattr(getattr(value, "dtype", None), "kind", None) for value in inputs]
        self._places = [place for place, code in enumerate(codes) if code == "f"]
        names = _argument_names(forward, len(inputs))
        for name, value in zip(names, inputs, strict=False):
            if isinstance(value, Mapping | list | tuple) and any(a.dtype.kind == "f" for a in arrays_in(value)):
                raise TypeError(
                    f"gradcheck: {self.op}: {name}: expected an array, got a {type(value).__name__} of arrays, whose "
                    "gradients would not be checked: make each an input of its own"
                )
        if not self._places:
            got = ", ".join(f"{name}: {kind(value)}" for name, value in zip(names, inputs, strict=False)) or "none"
            raise TypeError(f"gradcheck: {self.op}: inputs: expected an array of float64 among them, got {got}")
        self.backend = backends.of(inputs[self._places[0]], f"gradcheck: {self.op}: {names[self._places[0]]}")
        self.names = [names[i] for i in self._places]
        self.values = copies([inputs[i] for i in self._places])
        self._check_dtypes()

    def forward(self, values: Values, direction: Direction | None = None, t: complex = 0.0) -> np.ndarray:
        return result(self.op, self._call(moved(values, direction, t))[0])

    def backward(self, values: Values, dy: np.ndarray, clear: bool = False) -> list[Any]:
        y, saved = self._call(values)
        kept = [y, *(array for array in arrays_in(saved) if not any(attributes.is_same(array, x) for x in values))]
        before = [np.array(backends.to_numpy(array)) for array in kept]
        found = gradients(self._backward(self._on_device(dy), saved), self.names)
        for i, array in enumerate(kept):
            check_same("what forward saved" if i else "y", before[i], array)
        return self._of_each(found)

    def _of_each(self, found: list[Any]) -> list[Any]:
        """The gradients of the values, where there is one for each, or one for each input, trailing options left out.

        An input that is no array of real numbers has None.
        """
        if len(found) == len(self._places):
            return found
        others = [g for i, g in enumerate(found) if i not in self._places]
        if self._places[-1] < len(found) <= len(self._inputs) and all(g is None for g in others):
            return [found[i] for i in self._places]
        raise FormError(self.names[-1], f"expected backward to return {for_each(self.names)}, got {len(found)}")

    def complex_twin(self) -> "FunctionProblem":
        twin = copy(self)
        twin.dtype = "complex128"
        return twin

    def _call(self, values: Values) -> tuple[Any, Any]:
        inputs = list(self._inputs)
        for place, value in zip(self._places, values, strict=True):
            inputs[place] = self._on_device(value)
        found = self._forward(*inputs)
        if not isinstance(found, tuple | list) or len(found) != 2:
            got = f"{len(found)} values" if isinstance(found, tuple | list) else kind(found)
            raise TypeError(f"gradcheck: {self.op}: expected forward to return y, saved: two values, got {got}")
        return found[0], found[1]


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """What the function calls its arguments; x0, x1, ... where it does not say."""
    parameters = signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names if len(names) >= count else [f"x{i}" for i in range(count)]
