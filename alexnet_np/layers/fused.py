"""A Conv2d or Linear and what follows it as one call of the kernels, where the backend gains by it."""

from collections.abc import Iterable
from typing import Any

from .activation import ReLU
from .base import Layer
from .classes import is_as_its_class_says
from .conv2d import Conv2d
from .linear import Linear
from .pool import MaxPool2d


class Fused:
    """Does what ``layer``, a ReLU and perhaps a pooling do, one after the other.

    What backward needs, and the gradients, stay with the layer.
    """

    def __init__(self, layer: Conv2d | Linear, relu: ReLU, pool: MaxPool2d | None = None) -> None:
        self.layer = layer
        self.relu = relu
        self.pool = pool
        self.kernel = f"{layer.kernel}_relu" if pool is None else f"{layer.kernel}_relu_max_pool2d"

    def forward(self, x: Any, training: bool = False) -> Any:
        self.layer.check_input(x)
        forward = getattr(self.layer.kernels, f"{self.kernel}_forward")
        pool = () if self.pool is None else (self.pool._arguments(),)
        y, saved = forward(x, *self.layer._arguments(), *pool)
        return self.layer.keep(y, saved, self.kernel)

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        backward = getattr(self.layer.kernels, f"{self.kernel}_backward")
        saved = self.layer.recall(dy, self.kernel)
        return self.layer.write_grads(accumulate, *backward(dy, saved, input_grad))

    def forget(self) -> None:
        self.layer.forget()


def fused(layers: Iterable[Layer]) -> list[Layer | Fused]:
    """The layers, with every Conv2d or Linear before a ReLU(inplace=True) taken together with it.

    ``inplace`` says that nobody looks at what is between them. A MaxPool2d after a Conv2d so taken joins them. Only
    this package's own classes are taken: a subclass may compute something else. The reference backend stays layer by
    layer.
    """
    steps: list[Layer | Fused] = []
    for layer in layers:
        before = steps[-1] if steps else None
        if layer.backend.device == "reference" or not is_as_its_class_says(layer):
            steps.append(layer)
        elif (
            type(layer) is ReLU
            and layer.inplace
            and isinstance(before, Conv2d | Linear)
            and type(before) in (Conv2d, Linear)
            and is_as_its_class_says(before)
            and before.backend is layer.backend
        ):
            steps[-1] = Fused(before, layer)
        elif type(layer) is MaxPool2d and isinstance(before, Fused) and before.kernel == "conv2d_relu":
            steps[-1] = Fused(before.layer, before.relu, layer)
        else:
            steps.append(layer)
    return steps
