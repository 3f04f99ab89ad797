"""Whether what is known of a class holds for one object of it or of a subclass."""

from functools import cache
from typing import Any

from .base import Layer


def is_as_its_class_says(layer: Layer) -> bool:
    """Whether nobody has put another forward or backward on this one object."""
    return vars(layer).keys().isdisjoint(("forward", "backward"))


def describes_forward(layer: Layer, method: str) -> bool:
    """Whether a method (macs, to_onnx) was written for the layer's forward: not for that of a class above it."""
    kind: Any = type(layer)
    return is_as_its_class_says(layer) and _was_written_for_forward(kind, method)


@cache
def _was_written_for_forward(kind: type[Layer], method: str) -> bool:
    order = kind.__mro__
    defined = {name: next(i for i, one in enumerate(order) if name in vars(one)) for name in (method, "forward")}
    return defined[method] <= defined["forward"]
