"""Layers one after another: the chain rule."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from .activation import ReLU, Softmax
from .base import Layer, Shape, every_layer, refuse_hidden_layers
from .calls import call_backward, call_forward
from .classes import is_as_its_class_says
from .dropout import Dropout
from .fused import Fused, fused
from .linear import Linear
from .state import load_state

Numbers = list[list[int]]


class Container(Layer):
    """Named layers, each taking what the one before it gives.

    ``children`` holds them by name and may be changed: what is computed, trained and saved follows. A child that is a
    container, too, counts as its children, one after another. Every other child is one step: its own ``forward`` and
    ``backward`` are called. A subclass with a ``forward`` and ``backward`` of its own (a residual block, say) may have
    further layers as attributes.

    Any container can be trained, tested and saved. One that ends in a ``Softmax`` gives probabilities; its ``logits``
    are what the softmax takes.
    """

    input_grad = True
    """Whether backward returns the gradient of x where nobody says."""

    def __init__(self, **children: Layer) -> None:
        super().__init__()
        self.children = children
        for path, layer in every_layer(self):
            refuse_hidden_layers(path, layer)
        self.backend = next((child.backend for child in children.values()), self.backend)

    @property
    def children(self) -> dict[str, Layer]:
        """The layers by name, in the order of forward."""
        return self._children

    @children.setter
    def children(self, children: Mapping[str, Layer]) -> None:
        for name, child in children.items():
            self._check_child(name, child)
        self._children = dict(children)
        self._forward: tuple[Numbers, bool] | None = None  # which forward each step saved in; without the softmax?

    # ---- forward and backward

    def forward(self, x: Any, training: bool = False, keep: bool = True, input_grad: bool | None = None) -> Any:
        """Every layer in turn. Without ``keep`` nothing is saved for backward: for inference.

        ``input_grad`` says, as in backward, whether the gradient of x will be asked for (None: as the class has it).
        Without it, layers before the first that learns save nothing.
        """
        return self._chain(self._chain_layers(), x, training, keep, input_grad, without_softmax=False)

    def logits(self, x: Any, training: bool = False, keep: bool = True, input_grad: bool | None = None) -> Any:
        """What the loss takes: forward's result, or what a softmax at its end takes. backward then takes its gradient.

        TypeError where the container has a forward of its own and ends in a softmax: it has to define logits, too.
        """
        if input_grad is None:
            input_grad = self.input_grad
        if not _has(self, "forward", "backward"):
            every_layer(self)
            if any(isinstance(child, Softmax) for child in list(self.children.values())[-1:]):
                raise TypeError(
                    f"{self.label}: logits: expected to be defined beside a forward of its own where the last layer is "
                    "a softmax: define logits(x, training, keep, input_grad), or leave out the softmax"
                )
            self.forget()  # a forward of its own that is interrupted leaves nothing of the one before
            return call_forward(self, x, training, keep, input_grad)
        layers = self._chain_layers()
        last = layers[-1]
        if isinstance(last, Softmax) and not _is_softmax(last):
            raise TypeError(
                f"{self.label}: logits: expected layers.Softmax at the end, or none, got {type(last).__name__}, which "
                "may compute something else: define logits(x, training, keep, input_grad)"
            )
        return self._chain(layers, x, training, keep, input_grad, without_softmax=_is_softmax(last))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool | None = None) -> Any:
        """Write ``grad`` of every parameter that learns, given the gradient of forward's result (or of logits').

        The chain rule: every layer in reverse, each handing the gradient of its input to the one before. ``accumulate``
        adds to the gradients that are there. ``input_grad`` (None: as the class has it) returns the gradient of x;
        without it backward ends at the first layer that learns, which saves that work, and None is returned.

        RuntimeError without a forward before it, or where a layer has been through another forward since.
        """
        if input_grad is None:
            input_grad = self.input_grad
        layers = self._chain_layers()
        recorded, self._forward = self._forward, None
        if recorded and recorded[1]:
            layers = layers[:-1]
        steps = fused(layers)
        end = _end_of_backward(steps, input_grad)
        if recorded:
            self._check_same_forward(recorded[0], _numbers(steps), end)
        learning = [p for layer in layers for p in layer._every_parameter() if p.requires_grad]
        if not accumulate:  # the old gradients make room for the new
            for parameter in learning:
                parameter.grad = None
        last = len(steps)
        ready = bool(steps) and steps[-1].has_saved
        try:
            for i in reversed(range(end, len(steps))):
                dy = _backward(steps[i], dy, accumulate, input_grad or i > end)
                last = i
        except BaseException:
            if last == len(steps) and steps[-1].has_saved == ready:  # refused at once: the right dy is still welcome
                self._forward = recorded
            else:  # no optimiser may take half of the gradients for all
                self.forget()
                for parameter in learning:
                    parameter.grad = None
            raise
        return dy if input_grad else None

    def _chain(
        self,
        layers: Sequence[Layer],
        x: Any,
        training: bool,
        keep: bool,
        input_grad: bool | None,
        without_softmax: bool,
    ) -> Any:
        """Forward of these layers, or of all but the last. What an earlier forward saved is forgotten before."""
        if input_grad is None:
            input_grad = self.input_grad
        self._forward = None
        for child in reversed(self.children.values()):  # a backward begins at the last
            child.forget()
        self.check_input(x)  # the whole way, before any layer computes
        steps = fused(layers[:-1] if without_softmax else layers)
        end = _end_of_backward(steps, input_grad)
        for i, step in enumerate(steps):
            x = _forward(step, x, training, keep and i >= end, input_grad or i > end)
        if keep:
            self._forward = _numbers(steps), without_softmax
        return x

    def _check_same_forward(self, then: Numbers, now: Numbers, end: int) -> None:
        """Refuse what other forwards or other layers have left, in the steps from ``end`` on."""
        same = len(then) == len(now)
        if not same or any(map(_is_other, then[end:], now[end:])):
            raise RuntimeError(
                f"{self.label}: backward needs a forward before it: since the last one layers were replaced, or used "
                "in another forward"
            )

    # ---- the layers

    def steps(self, name: str = "") -> Iterator[tuple[str, Layer]]:
        """What forward calls one after another, with its path: children, and the children of those that are chains.

        A container with a forward of its own is one step, as any layer is.
        """
        if self.is_chain:
            yield from self._chain_steps(name)
        else:
            yield name, self

    def _chain_steps(self, name: str = "") -> Iterator[tuple[str, Layer]]:
        for key, child in self.children.items():
            yield from child.steps(f"{name}.{key}" if name else key)

    def _chain_layers(self) -> list[Layer]:
        """Every layer that forward calls, in order; the tree is as it has to be."""
        every_layer(self)
        if not self.children:
            raise ValueError(f"{type(self).__name__}: children: expected at least one layer, got none")
        layers = [layer for _, layer in self._chain_steps()]
        device = layers[0].backend.device
        if other := next((layer for layer in layers if layer.backend.device != device), None):
            where = f"{layers[0].label} on {device!r} and {other.label} on {other.backend.device!r}"
            raise ValueError(f"{self.label}: expected all layers on one device, got {where}: to(device) moves them all")
        return layers

    @property
    def is_chain(self) -> bool:
        """Whether forward, backward and logits are the container's: then it is its children, one after another."""
        return _has(self, "forward", "backward", "logits")

    def _sublayers(self) -> dict[str, Layer]:
        """The children; of a container with a forward of its own, the layers that are attributes, too."""
        children = self._children
        for name, child in children.items():
            self._check_child(name, child)
        others = self._attributes(Layer)
        if others:  # a second name for a layer that is there already is no other layer
            known = {id(layer) for child in children.values() for layer in child._parts()}
            others = {name: layer for name, layer in others.items() if id(layer) not in known}
        for name in others:
            if name in children:
                advice = f"children[{name!r}] = ... replaces it"
                raise TypeError(
                    f"{type(self).__name__}: {name}: expected the child of that name, got a layer: {advice}"
                )
            if _has(self, "forward", "logits"):
                advice = "make it one of children, or write a forward and backward that call it"
                raise TypeError(f"{type(self).__name__}: {name}: expected a layer that forward calls: {advice}")
        return children | others

    def _check_child(self, name: str, child: Any) -> None:
        if not isinstance(child, Layer):
            where = f"{type(self).__name__}: {name}"
            raise TypeError(f"{where}: expected a subclass of layers.Layer, got {type(child).__name__}")

    # ---- a network

    @property
    def dtype(self) -> Any:
        """The dtype of parameters and activations."""
        first = self._first_parameter()
        return np.dtype("float32") if first is None else first.data.dtype

    @property
    def device(self) -> str:
        """Where it computes: "reference", "cpu" or "gpu"."""
        return self.backend.device

    @property
    def num_classes(self) -> int:
        """What the Linear at the end gives, as the tree is now. AttributeError where that is not known."""
        for _, layer in reversed(list(self.steps())):
            if type(layer) is Linear:
                return layer.out_features
            if type(layer) not in (Softmax, ReLU, Dropout):
                break
        raise AttributeError(
            f"{self.label}: num_classes: expected a Linear at the end: output_shape(shape)[1] knows it for an input's "
            "shape"
        )

    def state_dict(self) -> dict[str, Any]:
        """name -> array, in this project's layouts. Not copies."""
        return {name: parameter.data for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over values by name. KeyError or ValueError, and nothing changed, where names or shapes differ."""
        load_state(self, state)

    # ---- what all layers have

    def output_shape(self, shape: Shape) -> Shape:
        for layer in self.children.values():
            shape = layer.output_shape(shape)
        return shape

    def macs(self, shape: Shape) -> int:
        """The sum of the children's, one after another; what a forward of its own adds is not counted."""
        total = 0
        for _, layer in self._chain_steps():
            total += layer.macs(shape)
            shape = layer.output_shape(shape)
        return total

    def to(self, device: str, dtype: Any = None, algorithm: str = "auto", precision: str = "float32") -> Self:
        self._forward = None
        return super().to(device, dtype, algorithm, precision)

    def forget(self) -> None:
        self._forward = None
        super().forget()

    @property
    def label(self) -> str:
        return type(self).__name__


def _has(container: Container, *methods: str) -> bool:
    """Whether these methods are Container's, and nobody has put others on this one object."""
    same = all(getattr(type(container), name) is getattr(Container, name) for name in methods)
    return same and vars(container).keys().isdisjoint(methods)


def _is_softmax(layer: Layer) -> bool:
    return type(layer) is Softmax and is_as_its_class_says(layer)


def _forward(step: Layer | Fused, x: Any, training: bool, keep: bool, input_grad: bool) -> Any:
    if not isinstance(step, Fused):
        return call_forward(step, x, training, keep, input_grad)
    y = step.forward(x, training)
    if not keep:
        step.forget()
    return y


def _backward(step: Layer | Fused, dy: Any, accumulate: bool, input_grad: bool) -> Any:
    if isinstance(step, Fused):
        return step.backward(dy, accumulate, input_grad)
    return call_backward(step, dy, accumulate, input_grad)


def _numbers(steps: list[Layer | Fused]) -> Numbers:
    """Of each step, the numbers of the forwards that its layers saved in; 0 where one has saved nothing."""
    layers = [step.layer if isinstance(step, Fused) else step for step in steps]
    return [[part._saved.number if part._saved else 0 for part in layer._parts()] for layer in layers]


def _is_other(then: list[int], now: list[int]) -> bool:
    """Whether a step has saved in another forward. That it has saved nothing is its own to refuse."""
    return len(then) != len(now) or any(b and a != b for a, b in zip(then, now, strict=True))


def _end_of_backward(steps: list[Layer | Fused], input_grad: bool) -> int:
    """The index of the last step that backward takes: the first that learns, or 0 where dx is asked for.

    Where nothing learns, it is their number: no step is taken.
    """
    return 0 if input_grad else next((i for i, step in enumerate(steps) if step.learns), len(steps))


class Sequential(Container):
    """Container with the names "0", "1", ...; indexing and len as in torch."""

    def __init__(self, *layers: Layer) -> None:
        if not layers:
            raise ValueError("Sequential: expected at least one layer, got none")
        super().__init__(**{str(i): layer for i, layer in enumerate(layers)})

    def __getitem__(self, index: int) -> Layer:
        return list(self.children.values())[index]

    def __len__(self) -> int:
        return len(self.children)
