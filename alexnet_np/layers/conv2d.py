"""Conv2d: kernels/reference/conv.py has the kernels."""

from typing import Any

import numpy as np

from .. import init as inits
from .arguments import integer, integer_pair, padding as padding_pair
from .base import Layer, Shape
from .windows import window_shape


class Conv2d(Layer):
    """A 2-d convolution: (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    torch.nn.Conv2d's signature. ``kernel_size``, ``stride`` and ``padding`` are integers or pairs
    (vertical, horizontal); an axis of padding may itself be a pair (before, after). ``init`` and
    ``rng`` say how the weights start (alexnet_np.init); without an rng they differ from run to run.

    weight (KH, KW, in_channels/groups, out_channels), bias (out_channels,).
    """

    kernel = "conv2d"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        *,
        init: "str | inits.Rule" = "torch",
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = integer("Conv2d", "in_channels", in_channels)
        self.out_channels = integer("Conv2d", "out_channels", out_channels)
        self.kernel_size = integer_pair("Conv2d", "kernel_size", kernel_size)
        self.stride = integer_pair("Conv2d", "stride", stride)
        self.padding = padding_pair("Conv2d", padding)
        self.groups = integer("Conv2d", "groups", groups)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"Conv2d: {name}: expected a multiple of groups ({groups}), got {channels}")
        shape = (*self.kernel_size, in_channels // groups, out_channels)
        weight, bias_values = inits.rule(init)(np.random.default_rng(rng), shape)
        self.weight = self.new_parameter("weight", weight)
        self.bias = self.new_parameter("bias", bias_values) if bias else None

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(*self.kernels.conv2d_forward(x, *self._arguments()))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.write_grads(accumulate, *self.kernels.conv2d_backward(dy, self.recall(dy), input_grad))

    def _arguments(self) -> tuple[Any, ...]:
        """What the kernel takes after x."""
        bias = None if self.bias is None else self.bias.data
        return self.weight.data, bias, self.stride, self.padding, self.groups

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, ("N", "H", "W", self.in_channels))
        return window_shape(self, shape, self.out_channels)

    def algorithm(self, shape: Shape) -> str:
        """How the layer's device computes it for an input of this shape."""
        chosen: str = self.kernels.conv2d_algorithm(
            shape, self.weight.data.shape, self.stride, self.padding, self.groups
        )
        return chosen

    def macs(self, shape: Shape) -> int:
        N, OH, OW, _ = self.output_shape(shape)
        return N * OH * OW * self.weight.data.size

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"]
        if self.padding != (0, 0):
            parts.append(f"padding={self.padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)

    @property
    def label(self) -> str:
        return f"{type(self).__name__}({self.in_channels}, {self.out_channels})"
