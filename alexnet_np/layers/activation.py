"""ReLU and Softmax: kernels/reference/activation.py has the kernels."""

from typing import Any

from .base import Layer, Shape


class ReLU(Layer):
    """max(x, 0), element by element, any shape.

    ``inplace`` is torch's: it tells a framework that x is not needed again. The input that a caller
    passes in is never written.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(*self.kernels.relu_forward(x))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.kernels.relu_backward(dy, self.recall(dy))

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Softmax(Layer):
    """Probabilities: (N, K) -> (N, K), each row positive with sum 1."""

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(*self.kernels.softmax_forward(x))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.kernels.softmax_backward(dy, self.recall(dy))

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, ("N", "K"))
        return shape

    def extra_repr(self) -> str:
        return "dim=1"
