"""How a container calls the forward and backward of a layer: with those of the arguments that they take.

The whole signatures are ``forward(x, training, keep, input_grad)`` and ``backward(dy, accumulate, input_grad)``. Most
layers take fewer. An argument is passed by its name where the method has that name. Otherwise ``training``,
``accumulate`` and backward's ``input_grad`` are passed in their places, whatever the method calls them.
"""

from collections.abc import Callable
from inspect import Parameter as Argument, signature
from typing import Any

from .base import Layer

FORWARD = ("training", "keep", "input_grad")
BACKWARD = ("accumulate", "input_grad")


def call_forward(layer: Layer, x: Any, training: bool, keep: bool = True, input_grad: bool = True) -> Any:
    """y. Without ``keep`` the layer has saved nothing afterwards."""
    positional, named = _taken(layer, "forward")
    if named:
        values = {"training": training, "keep": keep, "input_grad": input_grad}
        y = layer.forward(x, *(values[name] for name in positional), **{name: values[name] for name in named})
    else:
        y = layer.forward(x, training) if positional else layer.forward(x)
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
    if positional == BACKWARD:
        return layer.backward(dy, accumulate, input_grad)
    values = {"accumulate": accumulate, "input_grad": input_grad}
    return layer.backward(dy, *(values[name] for name in positional), **{name: values[name] for name in named})


def _taken(layer: Layer, method: str) -> "Taken":
    """Which of the arguments after the first the method takes: by position, and by name."""
    if method in layer.__dict__:  # a function that somebody put on this one object
        return _of_signature(getattr(layer, method), method)
    key = type(layer), method, getattr(type(layer), method)
    if key not in _known:
        _known[key] = _of_signature(getattr(layer, method), method)
    return _known[key]


Taken = tuple[tuple[str, ...], tuple[str, ...]]
_known: dict[tuple[type[Layer], str, Callable[..., Any]], Taken] = {}  # signatures take long to read


def _of_signature(bound: Callable[..., Any], method: str) -> Taken:
    options, places = (FORWARD, 1) if method == "forward" else (BACKWARD, 2)
    arguments = signature(bound).parameters.values()
    kinds = {argument.kind for argument in arguments}
    names = {a.name for a in arguments if a.kind in (Argument.POSITIONAL_OR_KEYWORD, Argument.KEYWORD_ONLY)}
    by_name = [name for name in options if name in names or Argument.VAR_KEYWORD in kinds]
    after_x = [a.name for a in arguments if a.kind in (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD)][1:]
    if Argument.VAR_POSITIONAL in kinds:
        after_x += [""] * places
    in_place = 0
    for name, place in zip(options[:places], after_x, strict=False):
        if place != name and (name in by_name or place in options):
            break
        in_place += 1
    return options[:in_place], tuple(name for name in by_name if name not in options[:in_place])
