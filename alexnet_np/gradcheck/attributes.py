"""Arrays that are attributes of somebody's object: found by name as parameters, and those that nobody listed.

A name is a path: attributes, keys of dicts and places in lists, joined by dots. Keys may be of any kind, and may have
dots in them: a key is what is written as the path says.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .. import backend as backends
from ..layers import Layer, Parameter
from ..layers.tree import Tree

MISSING = object()


class Named:
    """A parameter by the names of its array and its gradient: params={"W": "dW"}. Dots lead into objects and dicts."""

    def __init__(self, layer: Any, name: str, grad: str) -> None:
        self.layer, self.name, self.grad_name = layer, name, grad
        value = _checked(layer, name)
        where = f"gradcheck: params: {name!r}"
        if not hasattr(value, "dtype") or not hasattr(value, "shape") or isinstance(value, np.generic):
            advice = " (call forward once before, if that makes it)" if value is None else ""
            raise ValueError(f"{where}: expected an array{_known(layer)}, got a {type(value).__name__}{advice}")
        if not is_same(value, _get(layer, name)):
            advice = "name the array that it is made from"
            raise ValueError(f"{where}: expected an array, got a property that makes a new one each time: {advice}")
        if not getattr(getattr(value, "flags", None), "writeable", True):
            raise ValueError(f"{where}: expected an array that can be changed, got a read-only one")

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
        _checked(layer, name)
    return [Named(layer, name, grad) for name, grad in params.items() if grad is not None]


def search(layer: Any) -> list[tuple[str, Any]]:
    """Every floating-point array in the attributes of an object, and of what is in it, with its path.

    What the forward of a ``layers.Layer`` has saved is left out.
    """
    if not isinstance(layer, Layer):
        return [(_path(keys), array) for keys, array in _arrays(layer, (), 4, {})]
    found = []
    seen: dict[int, Any] = {}
    for place in Tree(layer).places:
        start = (place.path,) if place.path else ()
        for name, value in attributes(place.layer).items():
            if not isinstance(value, Layer) and name not in ("_saved", "_record", "_children"):
                found += [(_path(keys), array) for keys, array in _arrays(value, (*start, name), 3, seen)]
    return found


def _path(keys: tuple[Any, ...]) -> str:
    return ".".join(map(str, keys))


def attributes(thing: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots among them."""
    slots = [name for kind in type(thing).__mro__ for name in _names(vars(kind).get("__slots__", ()))]
    return {name: getattr(thing, name) for name in slots if hasattr(thing, name)} | dict(getattr(thing, "__dict__", {}))


def is_same(array: Any, other: Any) -> bool:
    """Whether two arrays are one, or NumPy's that lie in the same memory."""
    both = isinstance(array, np.ndarray) and isinstance(other, np.ndarray)
    return array is other or (both and np.may_share_memory(array, other))


def _arrays(thing: Any, keys: tuple[Any, ...], depth: int, seen: dict[int, Any]) -> Iterator[tuple[Any, Any]]:
    """Keys and array, each array once. ``depth`` says how many objects deep; ``seen`` has what was looked at."""
    if getattr(getattr(thing, "dtype", None), "kind", "") == "f" and getattr(thing, "shape", None) is not None:
        if not isinstance(thing, np.generic) and thing.size and id(thing) not in seen:
            seen[id(thing)] = thing
            yield keys, thing
    elif depth and not isinstance(thing, type | FunctionType | MethodType | ModuleType | backends.Backend):
        if id(thing) in seen:
            return
        seen[id(thing)] = thing
        for key, value in _inside(thing):
            yield from _arrays(value, (*keys, key), depth - 1, seen)


def _inside(thing: Any) -> Iterable[tuple[Any, Any]]:
    """What is in a container, or the attributes of an object."""
    if isinstance(thing, Mapping):
        return thing.items()
    if isinstance(thing, list | tuple):
        return enumerate(thing)
    if isinstance(thing, Parameter):
        return [("data", thing.data)]
    left_out = ("_saved", "_record") if isinstance(thing, Layer) else ("__dict__", "__weakref__")
    return [(name, value) for name, value in attributes(thing).items() if name not in left_out]


def _names(slots: Any) -> Iterable[str]:
    return [slots] if isinstance(slots, str) else slots


def _checked(layer: Any, name: str) -> Any:
    """What has this name. ValueError where nothing has."""
    value = _get(layer, name)
    if value is MISSING:
        raise ValueError(f"gradcheck: params: {name!r}: expected an array{_known(layer)}, got nothing of that name")
    return value


def _known(layer: Any) -> str:
    known = ", ".join(repr(path) for path, _ in search(layer)) or "none"
    return f" of {type(layer).__name__} (it has {known})"


# ---- paths


def _get(thing: Any, path: str) -> Any:
    """What a path leads to; MISSING where it leads nowhere."""
    for _, value, rest in _ways(thing, path):
        found = _get(value, rest) if rest else value
        if found is not MISSING:
            return found
    return MISSING


def _set(thing: Any, path: str, value: Any) -> None:
    """Set an attribute or entry; with MISSING, remove it."""
    for key, below, rest in _ways(thing, path):
        if rest and isinstance(below, tuple):  # a new tuple takes its place
            changed = list(below)
            _set(changed, rest, value)
            _assign(thing, key, tuple(changed))
            return
        if rest and (_get(below, rest) is not MISSING or _could_have(below, rest)):
            _set(below, rest, value)
            return
    if isinstance(thing, list) and path.isdecimal():
        _assign(thing, int(path), value)
    else:
        _assign(thing, next((key for key, _, rest in _ways(thing, path) if not rest), path), value)


def _ways(thing: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Each key that the path may begin with: the key, what it leads to, and the rest of the path."""
    if isinstance(thing, Mapping | list | tuple):
        for key, value in _inside(thing):
            if path == str(key) or path.startswith(f"{key}."):
                yield key, value, path[len(str(key)) + 1 :]
        return
    name, _, rest = path.partition(".")
    value = getattr(thing, name, MISSING)
    if value is MISSING and isinstance(thing, Layer):
        value = thing.children.get(name, MISSING)
    if value is not MISSING:
        yield name, value, rest


def _could_have(thing: Any, path: str) -> bool:
    """Whether a path may lead to something that is not there yet: the last key alone is new."""
    if "." not in path:
        return True
    return any(_could_have(below, rest) for _, below, rest in _ways(thing, path) if rest)


def _assign(thing: Any, key: Any, value: Any) -> None:
    if isinstance(thing, list):
        thing[key : key + 1] = [] if value is MISSING else [value]
    elif isinstance(thing, dict):
        if value is MISSING:
            thing.pop(key, None)
        else:
            thing[key] = value
    elif value is MISSING:
        with suppress(AttributeError):
            delattr(thing, key)
    else:
        setattr(thing, key, value)
