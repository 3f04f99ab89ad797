"""A layer to be checked: inputs and parameters, options, random numbers. All is left as it was found."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from inspect import signature
from typing import Any

import numpy as np

from .. import backend as backends
from ..layers import Layer
from ..layers.tree import Tree
from . import attributes
from .attributes import MISSING, Named
from .form import FormError, check_input, check_same, for_each, gradient, gradients, is_array, parameters_of, result
from .problem import Direction, Problem, Values, copies, generator, moved


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
        inputs = [self._on_device(value) for value in moved(values[: self.inputs], direction, t)]
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


def _taken(method: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of the options that the method takes."""
    return {name: value for name, value in options.items() if name in signature(method).parameters}


def _distinct(names: list[str]) -> list[str]:
    """The names, with a number after those that come again: weight, weight (2)."""
    counts = [names[:i].count(name) for i, name in enumerate(names, 1)]
    return [name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True)]
