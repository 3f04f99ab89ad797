"""A Conv2d or Linear and the ReLU behind it as one call of the kernels, where the engine gains by it."""

from collections.abc import Iterable
from typing import Any

from .activation import ReLU
from .base import Layer
from .conv2d import Conv2d
from .linear import Linear


class WithReLU:
    """Does what ``layer`` and a ReLU after it do. What backward needs, and the gradients, stay with the layer."""

    def __init__(self, layer: Conv2d | Linear) -> None:
        self.layer = layer

    def forward(self, x: Any, training: bool = False) -> Any:
        self.layer._check_input(x)
        forward = getattr(self.layer.kernels, f"{self.layer.kernel}_relu_forward")
        return self.layer._keep(*forward(x, *self.layer._arguments()))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        backward = getattr(self.layer.kernels, f"{self.layer.kernel}_relu_backward")
        return self.layer._write_grads(accumulate, *backward(dy, self.layer._recall(dy), input_grad))

    def forget(self) -> None:
        self.layer.forget()


def fused(layers: Iterable[Layer]) -> list[Layer | WithReLU]:
    """The layers, with every Conv2d or Linear before a ReLU(inplace=True) taken together with it.

    ``inplace`` says that nobody looks at what is between them. The reference book stays layer by layer.
    """
    steps: list[Layer | WithReLU] = []
    for layer in layers:
        before = steps[-1] if steps else None
        if (
            isinstance(layer, ReLU)
            and layer.inplace
            and isinstance(before, Conv2d | Linear)
            and layer.backend.device != "reference"
        ):
            steps[-1] = WithReLU(before)
        else:
            steps.append(layer)
    return steps
