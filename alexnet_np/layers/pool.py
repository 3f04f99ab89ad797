"""MaxPool2d and AdaptiveAvgPool2d: kernels/reference/pool.py has the kernels."""

from typing import Any

from .arguments import integer_pair, padding as padding_pair
from .base import Layer, Shape
from .windows import window_shape


class MaxPool2d(Layer):
    """The largest value of each window: (N, H, W, C) -> (N, OH, OW, C).

    torch.nn.MaxPool2d's signature; ``stride`` defaults to ``kernel_size``. ``ties``: "first" gives the
    gradient to the first of several largest pixels (torch), "all" to each of them (the code of 2012).
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        *,
        ties: str = "first",
    ) -> None:
        super().__init__()
        self._shown = (kernel_size, kernel_size if stride is None else stride, padding)
        self.kernel_size = integer_pair("MaxPool2d", "kernel_size", kernel_size)
        self.stride = integer_pair("MaxPool2d", "stride", kernel_size if stride is None else stride)
        self.padding = padding_pair("MaxPool2d", padding)
        self.ceil_mode = ceil_mode
        if ties not in ("first", "all"):
            raise ValueError(f"MaxPool2d: ties: expected 'first' or 'all', got {ties!r}")
        self.ties = ties
        for kernel, ends in zip(self.kernel_size, self.padding, strict=True):
            if 2 * max(integer_pair("MaxPool2d", "padding", ends, least=0)) > kernel:
                expected = f"at most half of kernel_size {self.kernel_size}"
                raise ValueError(f"MaxPool2d: padding: expected {expected}, got {padding}")

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(*self.kernels.max_pool2d_forward(x, *self._arguments()))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.kernels.max_pool2d_backward(dy, self.recall(dy))

    def _arguments(self) -> tuple[Any, ...]:
        """What the kernel takes after x."""
        return self.kernel_size, self.stride, self.padding, self.ceil_mode, self.ties

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, ("N", "H", "W", "C"))
        return window_shape(self, shape, shape[3], self.ceil_mode)

    def extra_repr(self) -> str:
        kernel_size, stride, padding = self._shown
        text = f"kernel_size={kernel_size}, stride={stride}, padding={padding}, dilation=1, ceil_mode={self.ceil_mode}"
        return text if self.ties == "first" else f"{text}, ties={self.ties!r}"


class AdaptiveAvgPool2d(Layer):
    """The mean over each cell of a grid of ``output_size``: (N, H, W, C) -> (N, OH, OW, C)."""

    def __init__(self, output_size: int | tuple[int, int]) -> None:
        super().__init__()
        self._shown = output_size
        self.output_size = integer_pair("AdaptiveAvgPool2d", "output_size", output_size)

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(*self.kernels.adaptive_avg_pool2d_forward(x, self.output_size))

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        return self.kernels.adaptive_avg_pool2d_backward(dy, self.recall(dy))

    def output_shape(self, shape: Shape) -> Shape:
        self.check_shape(shape, ("N", "H", "W", "C"))
        if min(shape[1:3]) < 1:
            raise ValueError(f"{self.label}: expected an image of at least one pixel, got {tuple(shape)}")
        return (shape[0], *self.output_size, shape[3])

    def extra_repr(self) -> str:
        return f"output_size={self._shown}"
