"""What is checked: a layer or a pair of functions, seen as one function of named arrays."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy, deepcopy
from inspect import signature
from typing import Any, TypeAlias

import numpy as np

from .. import backend as backends
from ..layers import Layer
from ..layers.tree import Tree
from . import attributes
from .attributes import MISSING, Named
from .form import (
    ADVICE,
    FormError,
    arrays_in,
    check_input,
    check_same,
    for_each,
    gradient,
    gradients,
    is_array,
    kind,
    parameters_of,
    result,
)

Values: TypeAlias = list[np.ndarray]
"""One array for each name, in main memory."""

Direction: TypeAlias = Mapping[int, np.ndarray]
"""For each value that moves, by its index, the step that it makes."""


class Problem:
    """y = forward(values), and the gradients that backward claims. ``names`` has one name for each value."""

    op: str
    names: list[str]
    values: Values
    backend: backends.Backend
    dtype = "float64"
    unlisted: Sequence[tuple[str, Any]] = ()  # arrays of a layer that are no parameters, with their paths

    def forward(self, values: Values, direction: Direction | None = None, t: complex = 0.0) -> np.ndarray:
        """y at values + t * direction; random masks are the same in every call."""
        raise NotImplementedError

    def backward(self, values: Values, dy: np.ndarray, clear: bool = False) -> list[Any]:
        """The gradient of <dy, y> with respect to each value, as forward and backward of the layer have it.

        Not copies. With ``clear``, gradients left from an earlier backward are set to 0 before. FormError where
        backward returns something else than a gradient for each value, or writes into what forward made.
        """
        raise NotImplementedError

    def changed(self, values: Values) -> str:
        """The name of a parameter that forward or backward has changed; "" where none has."""
        return ""

    def complex_twin(self) -> "Problem":
        """The same problem for complex values."""
        raise NotImplementedError

    def search(self) -> list[tuple[str, Any]]:
        """Arrays of a layer that are no parameters, as they are now, with their paths."""
        return []

    def items(self) -> Iterable[tuple[str, np.ndarray]]:
        """Names and values."""
        return zip(self.names, self.values, strict=True)

    def is_parameter(self, index: int) -> bool:
        """Whether the value is a parameter of a layer."""
        return False

    def where(self, index: int) -> str:
        """Where the gradient is looked for, in words, if that is not clear from its name."""
        return ""

    def restore(self) -> None:
        """Leave everything as it was found."""

    def _on_device(self, value: np.ndarray) -> Any:
        return self.backend.asarray(value, self.dtype).reshape(value.shape)  # scalars, too, keep their shape

    def _check_dtypes(self) -> None:
        for name, value in self.items():
            if value.dtype != self.dtype:
                advice = ADVICE.get(value.dtype.kind, ADVICE["f"])
                raise TypeError(f"gradcheck: {self.op}: {name}: expected {self.dtype}, got {value.dtype}: {advice}")


class LayerProblem(Problem):
    """A layer: an object with forward(x) and backward(dy), and with parameters() where it has any, or their names.

    ``training`` and ``input_grad`` are passed where the methods take them. Parameters that are frozen have no gradient
    to check.
    """

    def __init__(
        self,
        layer: Any,
        inputs: Sequence[Any],
        training: bool,
        dtype: str = "float64",
        params: Mapping[str, str | None] | None = None,
    ) -> None:
        self.layer = layer
        self.params = params
        self.training = training
        self.dtype = dtype
        label = getattr(layer, "label", "\n")
        self.op = type(layer).__name__ if "\n" in label else label
        self.inputs = len(inputs)
        self.names = ["x"] if len(inputs) == 1 else [f"x{i}" for i in range(len(inputs))]
        for method in ("forward", "backward"):
            if not callable(getattr(layer, method, None)):
                raise TypeError(f"gradcheck: layer: expected an object with a method {method}, got {self.op}")
        for name, value in zip(self.names, inputs, strict=True):
            check_input(self.op, name, value)
        own = getattr(layer, "backend", None)
        self.backend = own if isinstance(own, backends.Backend) else backends.of(inputs[0])
        self._given = list(inputs)
        parameters = parameters_of(layer)
        listed = {id(p.data) for p in parameters}
        parameters += [p for p in attributes.named(layer, params) if id(p.data) not in listed]
        _check_apart(self.op, parameters)
        self.parameters = [p for p in parameters if getattr(p, "requires_grad", True)]
        self._listed = parameters
        self._constants = [name for name, grad in (params or {}).items() if grad is None]
        self.unlisted = self.search()
        self.names = _distinct([*self.names, *(p.name for p in self.parameters)])
        self.values = copies([*inputs, *(p.data for p in self.parameters)])
        self._check_dtypes()
        self._written: list[Any] = [*self.values]
        self._grads = [_grad_of(p) for p in self.parameters]
        self._grad_values = [copies([grad])[0] if is_array(grad) else None for grad in self._grads]
        self._generators = self._find_generators()
        self._forward_options = _taken(layer.forward, training=training, input_grad=True)
        self._backward_options = _taken(layer.backward, input_grad=True)

    def forward(self, values: Values, direction: Direction | None = None, t: complex = 0.0) -> np.ndarray:
        inputs = [self._on_device(value) for value in _moved(values[: self.inputs], direction, t)]
        self._write(values, direction or {}, t)
        return result(self.op, self.run_forward(*inputs))

    def backward(self, values: Values, dy: np.ndarray, clear: bool = False) -> list[Any]:
        self._write(values, {}, 0.0)
        y = self.run_forward(*map(self._on_device, values[: self.inputs]))
        before = result(self.op, y)
        if clear:
            for parameter in self.parameters:
                parameter.grad = self.backend.xp.zeros_like(parameter.data)
        gradients = self.run_backward(self._on_device(dy))
        check_same("y", before, y)
        return gradients

    def changed(self, values: Values) -> str:
        for name, value, parameter in zip(
            self.names[self.inputs :], values[self.inputs :], self.parameters, strict=True
        ):
            if not np.array_equal(backends.to_numpy(parameter.data), value, equal_nan=True):
                return name
        return ""

    def run_forward(self, *inputs: Any) -> Any:
        """The layer's forward, with the same random numbers in every call."""
        self.repeat_random_numbers()
        return self.call_forward(*inputs)

    def call_forward(self, *inputs: Any) -> Any:
        """The layer's forward, with those of the options that it takes."""
        return self.layer.forward(*inputs, **self._forward_options)

    def call_backward(self, dy: Any) -> Any:
        """The layer's backward: dx, or one for each input."""
        return self.layer.backward(dy, **self._backward_options)

    def repeat_random_numbers(self) -> None:
        """Let the next forward draw the numbers that each forward draws."""
        for seed, (layer, name, _) in enumerate(self._generators):
            setattr(layer, name, self.backend.generator(generator(0, seed)))

    def run_backward(self, dy: Any) -> list[Any]:
        """The layer's backward: a gradient for each name. Not copies."""
        names = self.names[: self.inputs]
        returned = gradients(self.call_backward(dy), names)
        if len(returned) != len(names):
            raise FormError(names[-1], f"expected backward to return {for_each(names)}, got {len(returned)}")
        return [
            *returned,
            *(gradient(name, p.grad) for name, p in zip(self.names[len(names) :], self.parameters, strict=True)),
        ]

    def complex_twin(self) -> "LayerProblem":
        self._forget()
        layer = deepcopy(self.layer)
        if hasattr(layer, "to"):
            layer.to("reference", "complex128")
        elif hasattr(layer, "parameters"):
            for parameter in layer.parameters():
                parameter.data = parameter.data.astype("complex128")
        for parameter in attributes.named(layer, self.params):
            parameter.data = parameter.data.astype("complex128")
        inputs = [value.astype("complex128") for value in self.values[: self.inputs]]
        return LayerProblem(layer, inputs, self.training, "complex128", self.params)

    def is_parameter(self, index: int) -> bool:
        return index >= self.inputs

    def where(self, index: int) -> str:
        """Where the gradient is looked for, if the user said so."""
        parameter = self.parameters[index - self.inputs] if self.is_parameter(index) else None
        return f" in {parameter.grad_name}" if isinstance(parameter, Named) else ""

    def restore(self) -> None:
        try:
            self._write(self.values, {}, 0.0)
        finally:  # whatever a layer makes impossible, the rest is as it was
            for parameter, grad, values in zip(self.parameters, self._grads, self._grad_values, strict=True):
                if values is not None and getattr(getattr(grad, "flags", None), "writeable", True):
                    grad[...] = self.backend.asarray(values, grad.dtype)  # backward may write into it
                parameter.grad = grad
            for layer, name, generator in self._generators:
                setattr(layer, name, generator)
            self._forget()

    def _write(self, values: Values, direction: Direction, t: complex) -> None:
        """Give the parameters their values, in place as an optimizer would, where they do not have them yet."""
        for index, parameter in enumerate(self.parameters, self.inputs):
            if index in direction:
                self._written[index] = None  # before: this may be interrupted
                # Without temporaries: whole networks are checked, too.
                parameter.data[...] = self._on_device(direction[index])
                parameter.data *= t
                parameter.data += self._on_device(values[index])
            elif self._written[index] is not values[index]:
                self._written[index] = None
                parameter.data[...] = self._on_device(values[index])
                self._written[index] = values[index]

    def _forget(self) -> None:
        if hasattr(self.layer, "forget"):
            self.layer.forget()

    def search(self) -> list[tuple[str, Any]]:
        """Arrays of the object that are no parameters, nor inputs: path and array."""
        known = [array for p in self._listed for array in (p.data, p.grad) if array is not None] + self._given
        return [
            (name, array)
            for name, array in dict(attributes.search(self.layer)).items()
            if name not in self._constants and not any(attributes.is_same(array, other) for other in known)
        ]

    def _find_generators(self) -> list[tuple[Any, str, Any]]:
        """Every random generator and where it is held. They are replaced, so that each forward draws the same masks."""
        layers = Tree(self.layer).layers() if isinstance(self.layer, Layer) else [self.layer]
        Generator = type(self.backend.generator(np.random.default_rng(0)))  # a device has its own kind
        held = [(layer, name, value) for layer in layers for name, value in attributes.attributes(layer).items()]
        return [found for found in held if isinstance(found[2], Generator)]


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
        return result(self.op, self._call(_moved(values, direction, t))[0])

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


def generator(seed: int, *key: int) -> np.random.Generator:
    """Random numbers for a seed, which are not those of the user's own ``default_rng(seed)``.

    Otherwise the dy of the default seed would be the x of default_rng(0), and x * dy no random numbers.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0x67726164, *key)))


def _check_apart(op: str, parameters: Sequence[Any]) -> None:
    """ValueError where two parameters are one array: neither has a gradient of its own."""
    for i, one in enumerate(parameters):
        for other in parameters[:i]:
            if one.data.shape == other.data.shape and one.data.size and attributes.is_same(one.data, other.data):
                raise ValueError(
                    f"gradcheck: {op}: expected parameters of arrays of their own, got one array for {other.name} and "
                    f"{one.name}: list it once, with the sum of both gradients"
                )


def _grad_of(parameter: Any) -> Any:
    """The gradient; MISSING where backward has yet to make the attribute."""
    missing = isinstance(parameter, Named) and not parameter.has_grad
    return MISSING if missing else parameter.grad


def copies(arrays: list[Any]) -> list[Any]:
    """The arrays in main memory, and their own: what is checked may write into what it was given."""
    return [None if array is None else np.array(backends.to_numpy(array)) for array in arrays]


def _moved(values: Values, direction: Direction | None, t: complex) -> Values:
    return [value + t * direction[i] if direction and i in direction else value for i, value in enumerate(values)]


def _taken(method: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of the options that the method takes."""
    return {name: value for name, value in options.items() if name in signature(method).parameters}


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number after those that come again: weight, weight (2)."""
    counts = [names[:i].count(name) for i, name in enumerate(names, 1)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """What the function calls its arguments; x0, x1, ... where it does not say."""
    parameters = signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names if len(names) >= count else [f"x{i}" for i in range(count)]
