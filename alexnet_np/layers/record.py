"""What a container calls in forward, and what it remembers of that for backward."""

from typing import Any

from .activation import Softmax
from .base import Layer
from .calls import call_backward, call_forward
from .classes import is_as_its_class_says
from .fused import Fused, fused
from .parameter import Parameter
from .tree import Tree


class Step:
    """A layer that is called, or several that a backend computes together, and all parameters in it."""

    def __init__(self, layer: Layer | Fused, parameters: list[Parameter], inside: list[Layer]) -> None:
        self.layer = layer
        self.parameters = parameters
        self.inside = inside  # the layer and those below it

    def forward(self, x: Any, training: bool, keep: bool, input_grad: bool) -> Any:
        if not isinstance(self.layer, Fused):
            return call_forward(self.layer, x, training, keep, input_grad)
        y = self.layer.forward(x, training)
        if not keep:
            self.layer.forget()
        return y

    def backward(self, dy: Any, accumulate: bool, input_grad: bool) -> Any:
        if isinstance(self.layer, Fused):
            return self.layer.backward(dy, accumulate, input_grad)
        return call_backward(self.layer, dy, accumulate, input_grad)


class Record:
    """One forward of a container: its steps, of which those from ``first`` on have saved something, and its result."""

    def __init__(self, tree: Tree, steps: list[Step], first: int, y: Any) -> None:
        self.steps = steps
        self.first = first
        self._root = tree.root
        self._y = (y.shape, y.dtype) if hasattr(y, "shape") and hasattr(y, "dtype") else None
        chains = [place.layer for place in tree.places if place.step is None]
        self._children = [(chain, list(chain.children.values())) for chain in chains]
        self._numbers = _numbers(steps)

    def check_dy(self, dy: Any) -> None:
        """Refuse a dy that is no array like y."""
        if self._y is not None and self.steps:
            self.steps[-1].inside[0].check_dy(dy, *self._y)

    def check_same_layers(self, last: int) -> None:
        """Refuse what other forwards or other layers have left, in the steps from ``last`` on."""
        where = f"{self._root.label}: backward needs a forward before it"
        if last < self.first:
            raise RuntimeError(f"{where}: frozen early layers need forward(..., input_grad=True)")
        if any(list(chain.children.values()) != children for chain, children in self._children):
            raise RuntimeError(f"{where}: layers were replaced since")
        now = _numbers(self.steps)
        if now == self._numbers:
            return
        for i in range(last, len(now)):
            # That a layer has saved nothing is its own to refuse.
            if any(number and number != then for number, then in zip(now[i], self._numbers[i], strict=True)):
                label = self.steps[i].inside[0].label
                raise RuntimeError(f"{where}: {label} was used in another forward since the last one")


def steps_of(tree: Tree, without_softmax: bool = False) -> list[Step]:
    """What forward calls one after another, as the tree is now; perhaps without a softmax at its end."""
    label = tree.root.label
    parameters: dict[int, list[Parameter]] = {}
    inside: dict[int, list[Layer]] = {}
    for place in tree.places:
        if place.step is place:
            parameters[id(place.layer)], inside[id(place.layer)] = [], [place.layer]
        elif place.step:
            inside[id(place.step.layer)].append(place.layer)
    for place, parameter in tree.owners():
        if place.step:
            parameters[id(place.step.layer)].append(parameter)
    layers = [layer for layer, *_ in inside.values()]
    if not layers:
        raise ValueError(f"{label}: children: expected at least one layer, got none")
    device = layers[0].backend.device
    for layer in layers:
        if layer.backend.device != device:
            where = f"{layers[0].label} on {device!r} and {layer.label} on {layer.backend.device!r}"
            raise ValueError(f"{label}: expected all layers on one device, got {where}: to(device) moves them all")
    if without_softmax and isinstance(layers[-1], Softmax):
        last = layers.pop()
        if type(last) is not Softmax or not is_as_its_class_says(last):
            raise TypeError(
                f"{label}: logits: expected layers.Softmax at the end, or none, got {type(last).__name__}, which may "
                "compute something else: define logits(x, training, keep, input_grad)"
            )
    steps = fused(layers)
    keys = [id(step.layer if isinstance(step, Fused) else step) for step in steps]
    return [Step(step, parameters[key], inside[key]) for step, key in zip(steps, keys, strict=True)]


def first_to_save(steps: list[Step], input_grad: bool) -> int:
    """The index of the step where backward ends: the first trainable one, or 0 where dx is asked for.

    Where nothing is trainable, it is their number: no step is taken.
    """
    if input_grad:
        return 0
    for i, step in enumerate(steps):
        for parameter in step.parameters:
            if parameter.requires_grad:
                return i
    return len(steps)


def _numbers(steps: list[Step]) -> list[list[int]]:
    """Of each step, the numbers of the forwards that its layers saved in; 0 where one has saved nothing."""
    return [[layer._saved.number if layer._saved else 0 for layer in step.inside] for step in steps]
