"""The tree of a layer: the layers and parameters that are attributes of it, and of those, each once.

Children of a container are called in turn, so each is a layer of its own. Other attributes are names:

    self.conv, self.body = conv, Sequential(conv, ReLU())    conv is in the tree once, as body.0
    self.w = self.linear.weight                              one parameter, linear.weight
    child.parent = self                                      back to a layer above: ignored

A layer or parameter that two layers use, neither of which contains the other, is refused: the second forward would
overwrite what the first has saved, and the second gradient the first one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from ..backend import Backend
from . import base
from .parameter import Parameter

# Classes of attributes that are neither layers nor parameters: most attributes are, and this tells it quickly.
NUMBERS = frozenset({bool, int, float, complex, str, type(None), Backend, np.ndarray})
PLAIN = NUMBERS | {tuple, list, dict, set}


@dataclass(slots=True, eq=False)
class Place:
    """A layer, and where it is in the tree."""

    path: str
    layer: "base.Layer"
    above: "Place | None"  # the layer that it belongs to; None for the whole
    is_child: bool  # of a container, not one of its other attributes
    is_chain: bool  # calls its children in turn, and does nothing else
    step: "Place | None"  # what the chain calls: this layer or one above it; None for the chain itself
    own: list[Parameter] = field(default_factory=list)  # that are attributes of the layer, or that it lists

    def is_called_by(self, other: "Place") -> bool:
        """Whether it is a child of the other, or a child of its children, or ..."""
        place = self
        while place is not other and place.is_child and place.above:
            place = place.above
        return place is other

    def is_in(self, other: "Place | None") -> bool:
        """Whether this is the other place, or below it."""
        place: Place | None = self
        while place is not None and place is not other:
            place = place.above
        return place is other


class Tree:
    """The layers of ``root`` and their parameters. ValueError or TypeError where the tree is not as it has to be.

    ``as_chain`` takes the root for its children, called in turn, whatever its own forward does. ``listed`` asks a root
    with a ``parameters`` of its own for its parameters; without, they are its attributes.
    """

    def __init__(self, root: "base.Layer", name: str = "", as_chain: bool = False, listed: bool = True) -> None:
        self.root = root
        self._as_chain, self._listed = as_chain, listed
        self._places: dict[int, Place] = {}
        self._visit(root, name, None, True)

    @property
    def places(self) -> Iterable[Place]:
        """Every layer, each before those below it."""
        return self._places.values()

    def layers(self) -> list["base.Layer"]:
        return [place.layer for place in self._places.values()]

    def children(self) -> dict[str, "base.Layer"]:
        """The layers directly below the root, by name."""
        root = self._places[id(self.root)]
        return {place.path: place.layer for place in self.places if place.above is root}

    def owners(self) -> list[tuple[Place, Parameter]]:
        """Every parameter with the layer that it belongs to: the lowest one that has it."""
        found: dict[int, tuple[Place, Parameter]] = {}
        for place in self._places.values():
            for parameter in place.own:
                if id(parameter) in found:
                    other, _ = found.pop(id(parameter))
                    if not place.is_in(other):
                        first, second = (join(p.path, parameter.own_name) for p in (other, place))
                        raise ValueError(
                            f"{self.root.label}: the same parameter is {first!r} and {second!r}: expected each in one "
                            "layer (a layer makes one by new_parameter)"
                        )
                found[id(parameter)] = place, parameter
        return list(found.values())

    def parameters(self) -> list[Parameter]:
        return [parameter for _, parameter in self.owners()]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """With their paths. ValueError where two have the same, TypeError where a list hides layers or parameters."""
        found: dict[str, Parameter] = {}
        for place, parameter in self.owners():
            name = join(place.path, parameter.own_name)
            if name in found:
                raise ValueError(
                    f"{self.root.label}: two parameters are called {name!r}: expected each name once (new_parameter "
                    "takes the name)"
                )
            found[name] = parameter
        self.refuse_hidden()
        return list(found.items())

    def refuse_hidden(self) -> None:
        """TypeError where a list, tuple, set or dict has layers or parameters that are no attributes."""
        for place in self.places:
            if place.layer is self.root and not self._listed:
                continue  # which lists them in its parameters()
            for name, value in vars(place.layer).items():
                if (
                    value.__class__ not in NUMBERS
                    and isinstance(value, SEVERAL)
                    and name not in ("_saved", "_children")
                ):
                    for item in _items(value):
                        self._refuse_unless_known(item, place, name, type(value).__name__)

    def _refuse_unless_known(self, item: Any, place: Place, name: str, kind: str) -> None:
        if id(item) in self._places or any(item is parameter for _, parameter in self.owners()):
            return
        what, advice = (
            ("layers", "give each an attribute of its own, or put them into a layers.Sequential")
            if isinstance(item, base.Layer)
            else ("parameters", "give each an attribute of its own, or list them in parameters()")
        )
        raise TypeError(
            f"{join(place.path, name)} of {type(place.layer).__name__}: expected no {kind} of {what}, which would not "
            f"be trained, moved or saved: {advice}"
        )

    # ---- how it is built

    def _visit(self, layer: "base.Layer", path: str, above: Place | None, is_child: bool) -> None:
        if not isinstance(layer, base.Layer):
            where = f"{type(self.root).__name__}: {path}"
            raise TypeError(f"{where}: expected a subclass of layers.Layer, got {type(layer).__name__}")
        attributes: dict[str, Any] = vars(layer)
        kind: Any = type(layer)
        methods = _methods(kind)
        if "_saved" not in attributes:
            where = f"{kind.__name__}.__init__"
            raise TypeError(f"{where}: expected a call of super().__init__() before anything else, got none")
        children = attributes.get("_children", NONE)
        is_chain = "_children" in attributes and layer.is_chain
        here = Place(path, layer, above, is_child, is_chain, above.step if above else None)
        if here.step is None and not (is_chain or (above is None and self._as_chain)):
            here.step = here
        self._places[id(layer)] = here
        prefix = f"{path}." if path else ""
        for key, child in children.items():
            self._meet(child, f"{prefix}{key}", here, True)
        for key, value in attributes.items():
            if key in methods and not callable(value):
                raise TypeError(
                    f"{kind.__name__}: {key}: expected another name for the attribute, for {key} is a method of every "
                    f"layer, got a {type(value).__name__}"
                )
            if value.__class__ in PLAIN:
                continue
            if isinstance(value, Parameter):
                here.own.append(value)
            elif isinstance(value, base.Layer):
                if children.get(key, value) is not value:
                    advice = f"children[{key!r}] = ... replaces it"
                    raise TypeError(f"{kind.__name__}: {key}: expected the child of that name, got a layer: {advice}")
                self._meet(value, f"{prefix}{key}", here, False)
        if kind.parameters is not base.Layer.parameters and (self._listed or layer is not self.root):
            here.own = _listed_by(layer)

    def _meet(self, layer: "base.Layer", path: str, above: Place, is_child: bool) -> None:
        """A layer that one above has for an attribute: the first time, or by another name."""
        other = self._places.get(id(layer))
        if other is not None:
            if above.is_in(other) and not (is_child and above.is_called_by(other)):
                return  # back to a layer above
            if not is_child and other.above and other.above.is_in(above):
                return  # another name for a layer below
            if other.is_child or not above.is_in(other.above):
                where = repr(other.path) if other.above else "the whole"
                raise ValueError(
                    f"{type(self.root).__name__}: the same layer, {layer.label}, is {where} and {path!r}: each forward "
                    "of a layer serves one backward, so make a new one for each place"
                )
            self._places = {key: place for key, place in self._places.items() if not place.is_in(other)}
        elif above.is_chain and not is_child:
            if any(below is above.layer for below in Tree(layer).layers()):
                return  # the whole that the chain is a part of
            advice = "make it one of children, or write a forward and backward that call it"
            where = f"{type(above.layer).__name__}: {path.rpartition('.')[2]}"
            raise TypeError(f"{where}: expected a layer that forward calls: {advice}")
        self._visit(layer, path, above, is_child)


NONE: dict[str, Any] = {}
SEVERAL = (list, tuple, set, dict)


@cache
def _methods(kind: type) -> frozenset[str]:
    """The names of methods that this package calls on a layer of this class."""
    kinds = [one for one in kind.__mro__ if one.__module__.startswith(__package__)]
    return frozenset(name for one in kinds for name, value in vars(one).items() if callable(value))


def _listed_by(layer: "base.Layer") -> list[Parameter]:
    """The parameters of a layer that lists them itself."""
    listed = list(layer.parameters())
    for parameter in listed:
        if not isinstance(parameter, Parameter):
            expected = "expected a list of Parameter (self.new_parameter makes one)"
            raise TypeError(f"{type(layer).__name__}.parameters(): {expected}, got a {type(parameter).__name__} in it")
    return listed


def _items(value: Any, depth: int = 3) -> Iterator[Any]:
    """Layers and parameters in a nested list. Of a long one only the start is looked at: it holds data."""
    if isinstance(value, base.Layer | Parameter):
        yield value
    elif depth and isinstance(value, SEVERAL):
        values: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for item in islice(values, 100):
            yield from _items(item, depth - 1)


def join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
