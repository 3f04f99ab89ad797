"""Linear: kernels/reference/linear.py has the kernels."""

from typing import Any

import numpy as np

from .. import init as inits
from .arguments import integer
from .base import Layer, Shape


class Linear(Layer):
    """y = x weight + bias: (N, in_features) -> (N, out_features). torch.nn.Linear's signature.

    weight (in_features, out_features), which is the transpose of torch's; bias (out_features,).
    """

    kernel = "linear"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: "str | inits.Rule" = "torch",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = integer("Linear", "in_features", in_features)
        self.out_features = integer("Linear", "out_features", out_features)
        weight, bias_values = inits.rule(init)(np.random.default_rng(rng), (in_features, out_features))
        self.weight = self.new_parameter("weight", weight)
        self.bias = self.new_parameter("bias", bias_values) if bias else None

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(*self.kernels.linear_forward(x, *self._arguments()))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.write_grads(accumulate, *self.kernels.linear_backward(dy, self.recall(dy), input_grad))

    def _arguments(self) -> tuple[Any, ...]:
        """What the kernel takes after x."""
        return self.weight.data, None if self.bias is None else self.bias.data

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, ("N", self.in_features))
        return shape[0], self.out_features

    def macs(self, shape: Shape) -> int:
        return self.output_shape(shape)[0] * self.weight.data.size

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

    @property
    def label(self) -> str:
        return f"{type(self).__name__}({self.in_features}, {self.out_features})"
