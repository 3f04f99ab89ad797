"""A Conv2d or Linear and what follows it as one call of the kernels, where the engine gains by it."""

from collections.abc import Iterable
from typing import Any

from .activation import ReLU
from .base import Layer
from .conv2d import Conv2d
from .linear import Linear
from .pool import MaxPool2d


class Fused:
    """Does what ``layer``, a ReLU and perhaps a pooling do, one after the other.

    What backward needs, and the gradients, stay with the layer.
    """

    def __init__(self, layer: Conv2d | Linear, pool: MaxPool2d | None = None) -> None:
        self.layer = layer
        self.pool = pool
        self.kernel = f"{layer.kernel}_relu" if pool is None else f"{layer.kernel}_relu_max_pool2d"

    def forward(self, x: Any, training: bool = False) -> Any:
        self.layer.check_input(x)
        forward = getattr(self.layer.kernels, f"{self.kernel}_forward")
        pool = () if self.pool is None else (self.pool._arguments(),)
        return self.layer.keep(*forward(x, *self.layer._arguments(), *pool))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        backward = getattr(self.layer.kernels, f"{self.kernel}_backward")
        return self.layer.write_grads(accumulate, *backward(dy, self.layer.recall(dy), input_grad))

    def forget(self) -> None:
        self.layer.forget()

    @property
    def learns(self) -> bool:
        return self.layer.learns


def fused(layers: Iterable[Layer]) -> list[Layer | Fused]:
    """The layers, with every Conv2d or Linear before a ReLU(inplace=True) taken together with it.

    ``inplace`` says that nobody looks at what is between them. A MaxPool2d behind a Conv2d so taken joins them. The
    reference book stays layer by layer.
    """
    steps: list[Layer | Fused] = []
    for layer in layers:
        before = steps[-1] if steps else None
        if layer.backend.device == "reference":
            steps.append(layer)
        elif isinstance(layer, ReLU) and layer.inplace and isinstance(before, Conv2d | Linear):
            steps[-1] = Fused(before)
        elif isinstance(layer, MaxPool2d) and isinstance(before, Fused) and before.kernel == "conv2d_relu":
            steps[-1] = Fused(before.layer, layer)
        else:
            steps.append(layer)
    return steps
