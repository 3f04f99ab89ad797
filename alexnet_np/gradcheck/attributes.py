"""Arrays that are attributes of somebody's object: found by name as parameters, and those that nobody listed."""

from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .. import backend as backends
from ..layers import Layer, Parameter

MISSING = object()


class Named:
    """A parameter by the names of its array and its gradient: params={"W": "dW"}. Dots lead into objects and dicts."""

    def __init__(self, layer: Any, name: str, grad: str) -> None:
        self.layer, self.name, self.grad_name = layer, name, grad
        value = _get(layer, name)
        if not hasattr(value, "dtype") or not hasattr(value, "shape"):
            known = ", ".join(repr(path) for path, _ in arrays(layer)) or "none"
            got = "nothing of that name" if value is MISSING else f"a {type(value).__name__}"
            where = f"gradcheck: params: {name!r}"
            raise ValueError(f"{where}: expected an array of {type(layer).__name__} (it has {known}), got {got}")

    @property
    def data(self) -> Any:
        return _get(self.layer, self.name)

    @data.setter
    def data(self, value: Any) -> None:
        _set(self.layer, self.name, value)

    @property
    def has_grad(self) -> bool:
        return _get(self.layer, self.grad_name) is not MISSING

    @property
    def grad(self) -> Any:
        value = _get(self.layer, self.grad_name)
        return None if value is MISSING else value

    @grad.setter
    def grad(self, value: Any) -> None:
        _set(self.layer, self.grad_name, value)


def named(layer: Any, params: Mapping[str, str | None] | None) -> list[Named]:
    """The parameters that ``params`` names. TypeError or ValueError where it is no such mapping."""
    if params is None:
        return []
    expected = 'expected a dict of names, {"W": "dW"}: the array and the gradient that backward writes'
    if not isinstance(params, Mapping):
        raise TypeError(f"gradcheck: params: {expected}, got {type(params).__name__}")
    for name, grad in params.items():
        if not isinstance(name, str) or not isinstance(grad, str | None):
            raise TypeError(f"gradcheck: params: {expected}, got {name!r}: {grad!r}")
    return [Named(layer, name, grad) for name, grad in params.items() if grad is not None]


def arrays(thing: Any, path: str = "", depth: int = 4) -> Iterator[tuple[str, Any]]:
    """Every floating-point array in the attributes of an object, and of objects and containers in it, with its path.

    ``depth`` says how many objects deep. What the forward of a layer has saved is left out.
    """
    if getattr(getattr(thing, "dtype", None), "kind", "") == "f" and getattr(thing, "shape", None) is not None:
        if not isinstance(thing, np.generic) and thing.size:
            yield path, thing
    elif depth and not isinstance(thing, type | FunctionType | MethodType | ModuleType | backends.Backend):
        for key, value in _inside(thing):
            yield from arrays(value, f"{path}.{key}" if path else f"{key}", depth - 1)


def _inside(thing: Any) -> Iterable[tuple[Any, Any]]:
    """What is in a container, or the attributes of an object."""
    if isinstance(thing, Mapping):
        return thing.items()
    if isinstance(thing, list | tuple):
        return enumerate(thing)
    if isinstance(thing, Parameter):
        return [("data", thing.data)]
    own = getattr(thing, "__dict__", {})
    return [(name, value) for name, value in own.items() if not (isinstance(thing, Layer) and name == "_saved")]


def _get(thing: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(thing, Mapping):
            thing = thing.get(key, MISSING)
        elif isinstance(thing, list | tuple):
            thing = thing[int(key)] if key.isdecimal() and int(key) < len(thing) else MISSING
        else:
            thing = getattr(thing, key, MISSING)
    return thing


def _set(thing: Any, path: str, value: Any) -> None:
    """Set an attribute or entry; with MISSING, remove it."""
    above, _, key = path.rpartition(".")
    if above:
        thing = _get(thing, above)
    if isinstance(thing, dict | list):
        place: Any = int(key) if isinstance(thing, list) else key
        if value is not MISSING:
            thing[place] = value
        elif isinstance(thing, dict):
            thing.pop(place, None)
    elif value is not MISSING:
        setattr(thing, key, value)
    elif key in vars(thing):
        delattr(thing, key)
