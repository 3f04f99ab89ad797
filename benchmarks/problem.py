"""The work that every contender does: torchvision's AlexNet, a batch, an optimiser step.

Weights and batches are made here from fixed seeds, in one layout: images (N, H, W, C), convolution
weights (KH, KW, C, O), linear weights (inputs, outputs), with torchvision's names. Each contender turns
them into its own layout before anything is timed.

A training step is: forward, softmax cross-entropy, the gradients of all 16 parameters, SGD with momentum
and weight decay. The gradient of the images is not computed. Dropout draws new masks in every step.
torchvision's adaptive average pooling is the identity at 224 pixels: contenders are spared it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

CLASSES = 1000
DROPOUT = 0.5
LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4


@dataclass(frozen=True)
class Layer:
    """A layer with parameters or windows; shapes are those of one image."""

    name: str
    kind: str  # "conv", "pool" (3x3 windows, 2 apart) or "linear"
    key: str  # torchvision's name, "" without parameters
    x: tuple[int, ...]
    y: tuple[int, ...]
    w: tuple[int, ...] = ()
    stride: int = 1
    padding: int = 0
    relu: bool = False  # follows
    dropout: bool = False  # comes before

    @property
    def first(self) -> bool:
        """Whether the gradient of its input is not needed."""
        return self.name == "conv1"

    @property
    def macs(self) -> int:
        """Multiply-adds of a direct forward for one image."""
        return prod(self.y[:-1]) * prod(self.w) if self.w else 0

    def flops(self, direction: str) -> int:
        """Floating-point operations for one image of a direct "forward", or of a "backward" with its two gradients."""
        return 2 * self.macs * (1 if direction == "forward" or self.first else 2)

    def traffic(self, direction: str, N: int) -> int:
        """The numbers that have to be read or written for N images, if each crosses the memory bus once."""
        x, y, w = N * prod(self.x), N * prod(self.y), prod(self.w) if self.w else 0
        if direction == "forward":
            return x + w + y
        # x (which a pooling looks at for its winners), w and dy come in; dx, but for the first layer's, and dw go out.
        return x + y + (w + x if not self.first else 0) + w


LAYERS = (
    Layer("conv1", "conv", "features.0", (224, 224, 3), (55, 55, 64), (11, 11, 3, 64), stride=4, padding=2, relu=True),
    Layer("pool1", "pool", "", (55, 55, 64), (27, 27, 64), stride=2),
    Layer("conv2", "conv", "features.3", (27, 27, 64), (27, 27, 192), (5, 5, 64, 192), padding=2, relu=True),
    Layer("pool2", "pool", "", (27, 27, 192), (13, 13, 192), stride=2),
    Layer("conv3", "conv", "features.6", (13, 13, 192), (13, 13, 384), (3, 3, 192, 384), padding=1, relu=True),
    Layer("conv4", "conv", "features.8", (13, 13, 384), (13, 13, 256), (3, 3, 384, 256), padding=1, relu=True),
    Layer("conv5", "conv", "features.10", (13, 13, 256), (13, 13, 256), (3, 3, 256, 256), padding=1, relu=True),
    Layer("pool5", "pool", "", (13, 13, 256), (6, 6, 256), stride=2),
    Layer("fc6", "linear", "classifier.1", (9216,), (4096,), (9216, 4096), relu=True, dropout=True),
    Layer("fc7", "linear", "classifier.4", (4096,), (4096,), (4096, 4096), relu=True, dropout=True),
    Layer("fc8", "linear", "classifier.6", (4096,), (CLASSES,), (4096, CLASSES)),
)
BY_NAME = {layer.name: layer for layer in LAYERS}


def flops(work: str, N: int) -> int:
    """Floating-point operations of "inference" or of a "training step" for N images, by direct convolution."""
    directions = ("forward",) if work == "inference" else ("forward", "backward")
    return N * sum(layer.flops(direction) for layer in LAYERS for direction in directions)


def weights() -> dict[str, np.ndarray]:
    """name -> float32 array: uniform in +-1/sqrt(fan_in), as torchvision's network starts."""
    rng = np.random.default_rng(0)
    arrays = {}
    for layer in LAYERS:
        if layer.w:
            bound = 1 / sqrt(prod(layer.w[:-1]))
            arrays[f"{layer.key}.weight"] = _uniform(rng, bound, layer.w)
            arrays[f"{layer.key}.bias"] = _uniform(rng, bound, layer.w[-1:])
    return arrays


def batch(N: int, distinct: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Normal noise for images (N, 224, 224, 3), float32, and random labels (N,), int64.

    Only ``distinct`` of them differ, where that is said: they come again and again, N / distinct times. The loss is a
    mean, so that it and all gradients are those of the distinct ones, for whoever computes them in float64.
    """
    distinct = N if distinct is None else distinct
    if N % distinct:
        raise ValueError(f"distinct: expected a divisor of {N}, got {distinct}")
    rng = np.random.default_rng(1)
    images = rng.standard_normal((distinct, *LAYERS[0].x), dtype=np.float32)
    labels = rng.integers(CLASSES, size=distinct)
    return np.tile(images, (N // distinct, 1, 1, 1)), np.tile(labels, N // distinct)


def layer_data(layer: Layer, N: int, rounded: bool = False) -> dict[str, np.ndarray]:
    """What one layer alone is timed on: x, dy, and w and b where it has them.

    ``rounded`` to what bfloat16 can hold too: else it would see other winners than float64 where it pools.
    """
    rng = np.random.default_rng(2)
    data = {name: rng.standard_normal((N, *getattr(layer, name)), dtype=np.float32) for name in ("x", "y")}
    data["dy"] = data.pop("y")
    if layer.w:
        bound = 1 / sqrt(prod(layer.w[:-1]))
        data |= {"w": _uniform(rng, bound, layer.w), "b": _uniform(rng, bound, layer.w[-1:])}
    if rounded:
        for array in data.values():
            array.view(np.uint32)[...] &= np.uint32(0xFFFF0000)  # the upper half of a float32 is a bfloat16
    return data


def to_channels_first(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Weights in torchvision's layouts: (O, C, KH, KW), (outputs, inputs), fc6's inputs in order C, H, W."""
    return {name: np.ascontiguousarray(_to_channels_first(name, array)) for name, array in arrays.items()}


def from_channels_first(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The reverse of to_channels_first. Views where possible."""
    return {name: _from_channels_first(name, np.asarray(array)) for name, array in arrays.items()}


def _to_channels_first(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if name == "classifier.1.weight":
        return array.reshape(6, 6, 256, -1).transpose(3, 2, 0, 1).reshape(-1, 9216)
    return array.T


def _from_channels_first(name: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if name == "classifier.1.weight":
        return array.reshape(-1, 256, 6, 6).transpose(2, 3, 1, 0).reshape(9216, -1)
    return array.T


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...]) -> np.ndarray:
    values = rng.random(shape, dtype=np.float32)
    values -= np.float32(0.5)
    values *= np.float32(2 * bound)
    return values
