"""Layers one after another: the chain rule."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .activation import ReLU, Softmax
from .base import Layer, Shape
from .calls import call_forward
from .classes import describes_forward
from .dropout import Dropout
from .linear import Linear
from .record import Record, first_to_save, steps_of
from .state import load_state
from .tree import Tree


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
        Tree(self).refuse_hidden()
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
        self._record: Record | None = None  # of the last forward, until backward takes it

    # ---- forward and backward

    def forward(self, x: Any, training: bool = False, keep: bool = True, input_grad: bool | None = None) -> Any:
        """Every layer in turn. Without ``keep`` nothing is saved for backward: for inference.

        ``input_grad`` says, as in backward, whether the gradient of x will be asked for (None: as the class has it).
        Without it, layers before the first trainable one save nothing.
        """
        return self._chain(x, training, keep, input_grad)

    def logits(self, x: Any, training: bool = False, keep: bool = True, input_grad: bool | None = None) -> Any:
        """What the loss takes: forward's result, or what a softmax at its end takes. backward then takes its gradient.

        TypeError where the container has a forward of its own and ends in a softmax: it has to define logits, too.
        """
        if not _has(self, "forward", "backward"):
            if any(isinstance(child, Softmax) for child in list(self.children.values())[-1:]):
                raise TypeError(
                    f"{self.label}: logits: expected to be defined beside a forward of its own where the last layer is "
                    "a softmax: define logits(x, training, keep, input_grad), or leave out the softmax"
                )
            self.forget()  # a forward of its own that is interrupted leaves nothing of the one before
            return call_forward(self, x, training, keep, self.input_grad if input_grad is None else input_grad)
        return self._chain(x, training, keep, input_grad, without_softmax=True)

    def _chain(self, x: Any, training: bool, keep: bool, input_grad: bool | None, without_softmax: bool = False) -> Any:
        """Forward of all layers, or of all but a softmax at the end. What an earlier forward saved is forgotten."""
        if input_grad is None:
            input_grad = self.input_grad
        tree = Tree(self, as_chain=True)
        for layer in reversed(tree.layers()):
            layer._forget()
        steps = steps_of(tree, without_softmax)
        self._check_input(x, next((p for step in steps for p in step.parameters), None))  # before any layer computes
        first = first_to_save(steps, input_grad)

        for i, step in enumerate(steps):
            x = step.forward(x, training, keep and i >= first, input_grad or i > first)

        if keep:
            self._record = Record(tree, steps, first, x)
        return x

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool | None = None) -> Any:
        """Write ``grad`` of every trainable parameter, given the gradient of forward's result (or of logits').

        The chain rule: every layer in reverse, each handing the gradient of its input to the one before. ``accumulate``
        adds to the gradients that are there. ``input_grad`` (None: as the class has it) returns the gradient of x;
        without it backward ends at the first trainable layer, which saves work, and None is returned.

        RuntimeError without a forward before it, or where a layer has been through another forward since. A dy of the
        wrong form is refused, and the right one is still welcome. After any other error all gradients are None.
        """
        if input_grad is None:
            input_grad = self.input_grad
        record = self._record
        if record is None:
            raise RuntimeError(self._no_forward())
        record.check_dy(dy)
        self._record = None
        steps, last = record.steps, first_to_save(record.steps, input_grad)
        trainable = [p for step in steps for p in step.parameters if p.requires_grad]
        try:
            record.check_same_layers(last)
            if not accumulate:  # the old gradients make room for the new
                for p in trainable:
                    p.grad = None

            for i in reversed(range(last, len(steps))):
                dy = steps[i].backward(dy, accumulate, input_grad or i > last)

        except BaseException:  # no optimizer may take half of the gradients for all
            self.forget()
            for p in trainable:
                p.grad = None
            raise
        return dy if input_grad else None

    # ---- the layers

    @property
    def is_chain(self) -> bool:
        """Whether forward, backward and logits are the container's: then it is its children, one after another."""
        return _has(self, "forward", "backward", "logits")

    def _check_child(self, name: str, child: Any) -> None:
        if not isinstance(child, Layer):
            where = f"{type(self).__name__}: {name}"
            raise TypeError(f"{where}: expected a subclass of layers.Layer, got {type(child).__name__}")

    # ---- a network

    @property
    def dtype(self) -> Any:
        """The dtype of parameters and activations."""
        first = next(iter(Tree(self).parameters()), None)
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
        """NotImplementedError where the container has a forward of its own, but no output_shape of its own."""
        if not describes_forward(self, "output_shape"):
            raise NotImplementedError(
                f"{self.label}: output_shape: not known: define output_shape(shape) in {self.label}"
            )
        for layer in self.children.values():
            shape = layer.output_shape(shape)
        return shape

    def macs(self, shape: Shape) -> int:
        """The sum of the children's, one after another; what a forward of its own adds is not counted."""
        total = 0
        for place in Tree(self, as_chain=True).places:
            if place.step is place:
                total += place.layer.macs(shape)
                shape = place.layer.output_shape(shape)
        return total

    def _forget(self) -> None:
        super()._forget()
        self._record = None

    @property
    def label(self) -> str:
        return type(self).__name__


def _has(container: Container, *methods: str) -> bool:
    """Whether these methods are Container's, and nobody has put others on this one object."""
    kind, own = type(container), vars(container)
    return not any(name in own or getattr(kind, name) is not getattr(Container, name) for name in methods)


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
