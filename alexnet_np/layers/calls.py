"""How a container calls the forward and backward of a layer: with those of the arguments that they take.

The whole signatures are ``forward(x, training, keep, input_grad)`` and ``backward(dy, accumulate, input_grad)``. Most
layers take fewer: ``forward(x, training)`` cannot keep less, and the container makes them forget.
"""

from collections.abc import Callable
from inspect import Parameter as Argument, signature
from typing import Any

from .base import Layer

FORWARD = ("training", "keep", "input_grad")
BACKWARD = ("accumulate", "input_grad")


def call_forward(layer: Layer, x: Any, training: bool, keep: bool = True, input_grad: bool = True) -> Any:
    """y. Without ``keep`` the layer holds nothing afterwards."""
    positional, named = _taken(layer, "forward")
    values = {"training": training, "keep": keep, "input_grad": input_grad}
    y = layer.forward(x, *(values[name] for name in positional), **{name: values[name] for name in named})
    if not keep:
        layer.forget()
    return y


def call_backward(layer: Layer, dy: Any, accumulate: bool, input_grad: bool) -> Any:
    """dx, or anything without ``input_grad``. TypeError where gradients are to be added, and the layer cannot."""
    positional, named = _taken(layer, "backward")
    if accumulate and "accumulate" not in (*positional, *named) and layer.learns:
        raise TypeError(
            f"{layer.label}: backward(dy, accumulate=True): expected a backward that takes accumulate, as write_grads "
            "does, got one without it, which would write the gradients instead of adding them"
        )
    values = {"accumulate": accumulate, "input_grad": input_grad}
    return layer.backward(dy, *(values[name] for name in positional), **{name: values[name] for name in named})


def _taken(layer: Layer, method: str) -> "Taken":
    """Which of the arguments after the first the method takes: by position, and by name."""
    if method in vars(layer):  # a function that somebody put on this one object
        return _of_signature(getattr(layer, method), method)
    key = type(layer), method, getattr(type(layer), method)
    if key not in _known:
        _known[key] = _of_signature(getattr(layer, method), method)
    return _known[key]


Taken = tuple[tuple[str, ...], tuple[str, ...]]
_known: dict[tuple[type[Layer], str, Callable[..., Any]], Taken] = {}  # signatures take long to read


def _of_signature(bound: Callable[..., Any], method: str) -> Taken:
    # What comes second has always been passed by position, whatever it is called; in backward the third, too.
    names, most = (FORWARD, 1) if method == "forward" else (BACKWARD, 2)
    arguments = signature(bound).parameters.values()
    kinds = {argument.kind for argument in arguments}
    places = [a.name for a in arguments if a.kind in (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD)][1:]
    known = {a.name for a in arguments if a.kind in (Argument.POSITIONAL_OR_KEYWORD, Argument.KEYWORD_ONLY)}
    count = 0
    while count < most:
        if count < len(places):
            if places[count] in names and places[count] != names[count]:
                break
        elif Argument.VAR_POSITIONAL not in kinds:
            break
        count += 1
    rest = names[count:]
    return names[:count], tuple(name for name in rest if name in known or Argument.VAR_KEYWORD in kinds)
