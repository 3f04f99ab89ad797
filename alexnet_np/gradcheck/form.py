"""The form of what is handed over: inputs, parameters, results, gradients. In sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import backend as backends

ADVICE = {
    "f": "differences of float32 numbers keep three digits. Convert layers by layer.to(device, 'float64') and arrays "
    "by x.astype('float64')",
    "i": "whole numbers have no gradient. Convert by x.astype('float64'); indices and labels are for check_function, "
    "which passes them on",
    "c": "the gradient is that of real numbers. Make the real and the imaginary part two inputs",
}
ADVICE["u"] = ADVICE["b"] = ADVICE["i"]


class FormError(Exception):
    """What backward returned is no gradient for each value. Told of a tensor, in a sentence."""

    def __init__(self, tensor: str, message: str) -> None:
        super().__init__(message)
        self.tensor = tensor


def result(op: str, y: Any) -> np.ndarray:
    """A copy of forward's result in main memory: it may be a buffer, or a parameter, that the next call changes."""
    if not is_array(y) and not isinstance(y, np.generic | float):
        raise TypeError(f"gradcheck: {op}: y: expected forward to return an array, got {kind(y)}")
    return np.array(backends.to_numpy(y))


def gradients(returned: Any, names: Sequence[str]) -> list[Any]:
    """What backward returned, as a list: an array for one value, or a tuple or list with one for each."""
    if isinstance(returned, tuple | list):
        return [gradient(names[min(i, len(names) - 1)], value) for i, value in enumerate(returned)]
    if returned is None or is_array(returned) or isinstance(returned, np.generic | float):
        return [returned]
    raise FormError(names[-1], f"expected backward to return {for_each(names)}, got {kind(returned)}")


def gradient(name: str, value: Any) -> Any:
    """The gradient, if it is an array, a number for an array without axes, or None."""
    if value is None or is_array(value) or isinstance(value, np.generic | float):
        return value
    raise FormError(name, f"expected an array as gradient, got {kind(value)}")


def for_each(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the gradient of {names[0]}: one array"
    return f"a tuple of {len(names)} arrays, a gradient for each of {', '.join(names)}"


def kind(value: Any) -> str:
    """What something is, in words."""
    if is_array(value):
        return f"an array of {value.dtype}"
    name = type(value).__name__
    return "None" if value is None else f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def check_input(op: str, name: str, value: Any) -> None:
    if not is_array(value) and not isinstance(value, np.generic):
        advice = "np.asarray(value, 'float64') makes one"
        raise TypeError(f"gradcheck: {op}: {name}: expected an array of float64, got {kind(value)}: {advice}")
    backends.of(value, f"gradcheck: {op}: {name}")


def check_same(name: str, before: np.ndarray, array: Any) -> None:
    """FormError where backward has written into what forward made."""
    if not np.array_equal(before, backends.to_numpy(array), equal_nan=before.dtype.kind in "fc"):
        raise FormError(name, "backward wrote into it: a second look at it, or a second backward, sees other numbers")


def arrays_in(thing: Any) -> list[Any]:
    """The arrays in tuples, lists and dicts."""
    if isinstance(thing, Mapping):
        thing = list(thing.values())
    if isinstance(thing, list | tuple):
        return [array for value in thing for array in arrays_in(value)]
    return [thing] if is_array(thing) else []


def parameters_of(layer: Any) -> list[Any]:
    """What ``parameters()`` lists. TypeError where that are no parameters."""
    if not hasattr(layer, "parameters"):
        return []
    where = f"gradcheck: {type(layer).__name__}.parameters"
    advice = 'params={"W": "dW"} names arrays and their gradients'
    if not callable(layer.parameters):
        raise TypeError(f"{where}: expected a method, got a {type(layer.parameters).__name__}: {advice}")
    expected = "expected a list of objects with name, data and grad"
    returned = layer.parameters()
    if isinstance(returned, Mapping):
        keys = ", ".join(map(repr, returned))
        raise TypeError(f"{where}(): {expected}, got a {type(returned).__name__} with the keys {keys:.200}: {advice}")
    listed = list(returned)
    for parameter in listed:
        if not all(hasattr(parameter, name) for name in ("name", "data", "grad")) or isinstance(parameter, np.ndarray):
            raise TypeError(f"{where}(): {expected}, got a {type(parameter).__name__} in it: {advice}")
        what = f"{where}(): {parameter.name!s:.100}: data"
        if not is_array(parameter.data):
            raise TypeError(f"{what}: expected an array, got {kind(parameter.data)}")
        if not getattr(getattr(parameter.data, "flags", None), "writeable", True):
            raise ValueError(f"{what}: expected an array that can be changed, got a read-only one")
    # A parameter that is listed twice, as where two layers share it, is one: it has one gradient.
    return list({id(parameter): parameter for parameter in listed}.values())


def is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.generic)
