"""How many windows of a convolution or pooling layer fit on an image."""

from typing import Any

from .. import backend
from .base import Shape


def window_shape(layer: Any, shape: Shape, channels: int, ceil_mode: bool = False) -> Shape:
    """(N, H, W, .) -> (N, OH, OW, channels), from the layer's kernel_size, stride and padding."""
    output_size = backend.get("reference").kernels.output_size
    N, H, W, _ = shape
    OH, OW = (
        output_size(size, kernel, stride, padding, ceil_mode)
        for size, kernel, stride, padding in zip((H, W), layer.kernel_size, layer.stride, layer.padding, strict=True)
    )
    if OH < 1 or OW < 1:
        image = f"an image of {(H, W)} with padding {layer.padding}"
        raise ValueError(f"{layer.label}: a window of {layer.kernel_size} does not fit into {image}")
    return N, OH, OW, channels
