"""Flatten, between images and vectors."""

from math import prod
from typing import Any

from .base import Layer, Shape


class Flatten(Layer):
    """(N, H, W, C) -> (N, H*W*C), in this order: channels run fastest, as in Keras.

    torch flattens (C, H, W): weights of the Linear after it are permuted on their way in (weights/layouts.py).
    ``listed=False`` leaves the layer out of printouts, as where torch calls a function instead.
    """

    def __init__(self, listed: bool = True) -> None:
        super().__init__()
        self.listed = listed

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        return self.keep(x.reshape(self.output_shape(x.shape)), x.shape)

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        shape = self.recall(dy)
        return dy.reshape(shape)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) < 2:
            raise ValueError(f"{self.label}: expected (N, ...), got {tuple(shape)}")
        return shape[0], prod(shape[1:])

    def extra_repr(self) -> str:
        return "start_dim=1, end_dim=-1"
