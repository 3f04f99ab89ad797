"""Layers one after another: the chain rule."""

from collections.abc import Iterator, Sequence
from typing import Any, Self

from .base import Layer, Parameter, Shape
from .fused import Fused, fused


class Container(Layer):
    """Named layers, each taking what the one before it gives."""

    def __init__(self, **children: Layer) -> None:
        super().__init__()
        self.children = children
        for name, child in children.items():
            if not isinstance(child, Layer):
                raise TypeError(
                    f"{type(self).__name__}: {name}: expected a subclass of layers.Layer, got {type(child).__name__}"
                )
            for parameter in child.parameters():
                parameter.name = f"{name}.{parameter.name}"

    def forward(self, x: Any, training: bool = False, keep: bool = True, input_grad: bool = True) -> Any:
        """Every layer in turn. Without ``keep`` nothing is held for backward: for inference.

        ``input_grad`` says, as in backward, whether the gradient of x will be asked for. Without it, layers that
        backward does not reach hold nothing.
        """
        self.check_input(x)  # the whole way, before any layer computes
        return self._chain(self._layers(), x, training, keep, input_grad)

    @staticmethod
    def _chain(layers: Sequence[Layer], x: Any, training: bool, keep: bool, input_grad: bool) -> Any:
        """Forward of these layers: of all, or, for AlexNetKeras.logits, of all but the softmax."""
        steps = fused(layers)
        end = _end_of_backward(steps, input_grad)
        for i, step in enumerate(steps):
            x = step.forward(x, training)
            if not keep or i < end:
                step.forget()
        return x

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        """The chain rule: every layer in reverse, each handing the gradient of its input to the one before.

        Without ``input_grad`` it ends at the first layer that learns: nothing below it has a use for a gradient.
        """
        return self._chain_back(self._layers(), dy, accumulate, input_grad)

    @staticmethod
    def _chain_back(layers: Sequence[Layer], dy: Any, accumulate: bool, input_grad: bool) -> Any:
        """Their backward."""
        if not accumulate:  # the old gradients make room for the new
            for parameter in (p for layer in layers for p in layer.parameters() if p.requires_grad):
                parameter.grad = None
        steps = fused(layers)
        end = _end_of_backward(steps, input_grad)
        for i in reversed(range(end, len(steps))):
            dy = steps[i].backward(dy, accumulate, input_grad or i > end)
        return dy if input_grad else None

    def output_shape(self, shape: Shape) -> Shape:
        for layer in self.children.values():
            shape = layer.output_shape(shape)
        return shape

    def macs(self, shape: Shape) -> int:
        total = 0
        for _, layer in self.walk():
            total += layer.macs(shape)
            shape = layer.output_shape(shape)
        return total

    def parameters(self) -> list[Parameter]:
        return [parameter for child in self.children.values() for parameter in child.parameters()]

    def walk(self, name: str = "") -> Iterator[tuple[str, Layer]]:
        for key, child in self.children.items():
            yield from child.walk(f"{name}.{key}" if name else key)

    def _layers(self) -> list[Layer]:
        """Every layer that computes, in the order of forward."""
        return [layer for _, layer in self.walk()]

    def to(self, device: str, dtype: Any = None, algorithm: str = "auto", precision: str = "float32") -> Self:
        for child in self.children.values():
            child.to(device, dtype, algorithm, precision)
        self.backend = next(iter(self.children.values())).backend
        return self

    @property
    def has_saved(self) -> bool:
        """Whether any of the layers holds something for backward."""
        return any(child.has_saved for child in self.children.values())

    def forget(self) -> None:
        for child in self.children.values():
            child.forget()

    @property
    def label(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        lines = [f"({name}): {child!r}" for name, child in self.children.items() if getattr(child, "listed", True)]
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"


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
