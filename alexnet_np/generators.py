"""The random generators of a network's layers: those of the dropout masks, and of layers of one's own."""

from functools import cache
from typing import Any

import numpy as np

from .backend import Backend
from .layers import Layer
from .layers.tree import PLAIN, Tree


def generators(net: Layer) -> list[Any]:
    """Every generator that is an attribute of a layer, once, in the order of the layers."""
    found: dict[int, Any] = {}
    for layer in Tree(net).layers():
        for value in vars(layer).values():
            if value.__class__ not in PLAIN and isinstance(value, kinds(layer.backend)):
                found[id(value)] = value
    return list(found.values())


@cache
def kinds(backend: Backend) -> tuple[type, ...]:
    """The classes of generators that layers on a device may have."""
    return np.random.Generator, type(backend.generator(np.random.default_rng(0)))


def states(net: Layer) -> list[Any]:
    """The states of the generators, as JSON can hold them."""
    return [stateful.state for stateful in _stateful(net)]


def set_states(net: Layer, states: list[Any]) -> None:
    """Set the generators to states that ``states`` gave for such a network on such a device."""
    check_states(net, states)
    for stateful, state in zip(_stateful(net), states, strict=True):
        stateful.state = state


def check_states(net: Layer, states: list[Any]) -> None:
    """ValueError where a network of other generators had these states. They are tried; nothing changes."""
    if len(states) != len(found := _stateful(net)):
        raise ValueError(f"checkpoint: expected the states of {len(found)} random generators, got {len(states)}")
    before = [stateful.state for stateful in found]
    try:
        for stateful, state in zip(found, states, strict=True):
            stateful.state = state
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint: the state of a random generator cannot be understood ({error})") from error
    finally:
        for stateful, state in zip(found, before, strict=True):
            stateful.state = state


def _stateful(net: Layer) -> list[Any]:
    """What has the ``state`` of each generator: of NumPy's its bit generator, the GPU backend's itself."""
    return [getattr(rng, "bit_generator", rng) for rng in generators(net)]
