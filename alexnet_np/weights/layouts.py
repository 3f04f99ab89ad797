"""The same numbers in another framework's order.

                    here, Keras               torchvision, files
    convolution     (KH, KW, C/G, O)          (O, C/G, KH, KW)
    linear          (inputs, outputs)         (outputs, inputs)
    after Flatten   inputs in order H, W, C   inputs in order C, H, W

The last line is the one that is silently wrong when forgotten: the network runs, and knows nothing.

What takes values over has ``strict``. With ``strict=False`` a last layer for another number of classes keeps its own:
for fine-tuning. All of them return the names of the parameters that were kept, with ``strict`` none.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import to_numpy
from ..layers.activation import ReLU, Softmax
from ..layers.base import Layer
from ..layers.conv2d import Conv2d
from ..layers.dropout import Dropout
from ..layers.flatten import Flatten
from ..layers.linear import Linear
from ..layers.norm import LocalResponseNorm
from ..layers.parameter import Parameter
from ..layers.pool import AdaptiveAvgPool2d, MaxPool2d
from ..layers.state import check_names, check_shapes, load_state, naming, take

if TYPE_CHECKING:
    from ..layers import Container

# The Keras Sequential's layers by the names that torchvision gives theirs: weights load across.
TORCHVISION_NAMES = {
    "conv2d": "features.0",
    "conv2d_1": "features.3",
    "conv2d_2": "features.6",
    "conv2d_3": "features.8",
    "conv2d_4": "features.10",
    "dense": "classifier.1",
    "dense_1": "classifier.4",
    "dense_2": "classifier.6",
}


LAST_BIAS = "classifier.6.bias"  # torchvision's name in all networks here


def to_torch(net: "Container") -> dict[str, np.ndarray]:
    """name -> array with torchvision's names and layouts. Views where the network's own memory serves."""
    return {torch_name(name): to_torch_layout(to_numpy(p.data), image) for name, p, image in _with_images(net)}


def load_torch(net: "Container", state: Mapping[str, Any], strict: bool = True) -> list[str]:
    """Take over a state dict with torchvision's names and layouts (arrays or CPU tensors)."""
    expected = {torch_name(name): (name, p.data.shape, image) for name, p, image in _with_images(net)}
    check_names(expected, state)
    kept = check_shapes({torch: _torch_shape(shape) for torch, (_, shape, _) in expected.items()}, state, 0, strict)
    values = {}
    for torch, (name, _, image) in expected.items():
        if torch not in kept:
            with naming(torch):
                values[name] = _from_torch_layout(np.asarray(state[torch]), image)
    take(net, values)
    return [expected[torch][0] for torch in kept]


def to_keras(net: "Container") -> list[np.ndarray]:
    """The list that Keras's ``get_weights`` gives: kernel and bias of every layer, in order. Not copies."""
    return [to_numpy(parameter.data) for _, parameter in net.named_parameters()]


def load_keras(net: "Container", arrays: Sequence[Any], strict: bool = True) -> list[str]:
    """Take over the list that Keras's ``get_weights`` gives."""
    names = [name for name, _ in net.named_parameters()]
    if len(arrays) != len(names):
        raise ValueError(f"weights: expected {len(names)} arrays, got {len(arrays)}")
    return load_state(net, dict(zip(names, arrays, strict=True)), strict)


def load_arrays(net: "Container", arrays: Mapping[str, Any] | Sequence[Any], strict: bool = True) -> list[str]:
    """Take over what ``read`` gives: torchvision's by name, or Keras's in order."""
    return load_torch(net, arrays, strict) if isinstance(arrays, Mapping) else load_keras(net, arrays, strict)


def num_classes(arrays: Mapping[str, Any] | Sequence[Any], path: str | os.PathLike[str]) -> int:
    """How many classes the weights know that ``read`` gave of this path. ValueError where they are not an AlexNet's."""
    if isinstance(arrays, Mapping) and LAST_BIAS not in arrays:
        raise ValueError(f"weights: {path} holds no AlexNet: there is no {LAST_BIAS} in it")
    shape = np.shape(arrays[LAST_BIAS] if isinstance(arrays, Mapping) else arrays[-1])
    if len(shape) != 1:
        raise ValueError(f"weights: {path} holds no AlexNet: expected a bias at its end, got an array of shape {shape}")
    return shape[0]


def torch_name(name: str) -> str:
    """torchvision's name of the parameter with this name."""
    layer, _, kind = name.rpartition(".")
    layer = TORCHVISION_NAMES.get(layer, layer)
    return f"{layer}.{kind}" if layer else kind


Image = tuple[int, int, int]  # (H, W, C)


def _with_images(net: "Container") -> list[tuple[str, Parameter, Image | None]]:
    """Name and parameter; with the weight of a Linear that takes a flattened image, that image's (H, W, C)."""
    images = _flattened_images(net)
    return [(name, parameter, images.get(id(parameter))) for name, parameter in net.named_parameters()]


def _flattened_images(net: "Container") -> dict[int, Image]:
    """By the id of a Linear's weight, the image (H, W, C) that it takes flattened.

    The network is followed step by step: a Linear takes the image of a Flatten before it, where nothing between them
    changes the order of the numbers. ValueError where a layer of one's own takes a flattened image, or flattens one:
    what it does with it is not known.
    """
    images: dict[int, Image] = {}
    channels = 0  # of the images so far; 0 before the first convolution
    size: tuple[int, int] | None = None  # of the images, where the layer before says it
    flat = False  # whether a flattened image is on its way to a Linear
    for path, step in net.steps():
        if type(step) not in KNOWN:
            _refuse_flattened(path, step, flat)
            channels, size = _channels_after(step, channels), None
        elif isinstance(step, Linear):
            if flat:
                images[id(step.weight)] = _image(f"{path}.weight", step.in_features, channels, size)
            flat = False
        elif isinstance(step, Conv2d):
            channels, size = step.out_channels, None
        elif isinstance(step, AdaptiveAvgPool2d):
            size = step.output_size
        elif isinstance(step, Flatten):
            flat = channels > 0
        elif isinstance(step, MaxPool2d):
            size = None
    return images


KNOWN = frozenset(
    {Conv2d, Linear, Flatten, AdaptiveAvgPool2d, MaxPool2d, ReLU, Dropout, Softmax, LocalResponseNorm}
)  # the last four leave the order of vectors alone


def _refuse_flattened(path: str, step: Layer, flat: bool) -> None:
    """ValueError where a layer of one's own takes a flattened image, or flattens one."""
    if flat or any(isinstance(layer, Flatten) for _, layer in step.walk()):
        what = "takes a flattened image" if flat else "has a Flatten inside"
        raise ValueError(
            f"weights: {path or 'the network'}, {type(step).__name__}, {what}: expected Flatten and the Linear that "
            "takes its result one after the other in a Sequential. torch flattens channels first, and how that changes "
            "the order of these weights is not known"
        )


def _channels_after(step: Layer, channels: int) -> int:
    """The channels that a layer of one's own gives: as output_shape says, or those of its last convolution."""
    if channels and type(step).output_shape is not Layer.output_shape:
        with suppress(ValueError, NotImplementedError):
            return step.output_shape((1, 224, 224, channels))[-1]
    convolutions = [layer for _, layer in step.walk() if isinstance(layer, Conv2d)]
    return convolutions[-1].out_channels if convolutions else channels


def _image(name: str, inputs: int, channels: int, size: tuple[int, int] | None) -> Image:
    if size is not None:
        if size[0] * size[1] * channels != inputs:
            expected = f"{size[0]} x {size[1]} pixels of {channels} channels"
            raise ValueError(f"weights: {name}: expected {expected}, got {inputs} inputs")
        return (*size, channels)
    return _square_image(name, inputs, channels)


def _square_image(name: str, inputs: int, channels: int) -> Image:
    side = isqrt(inputs // channels)
    if side * side * channels != inputs:
        expected = f"a square image of {channels} channels"
        raise ValueError(f"weights: {name}: expected {expected}, got {inputs} inputs")
    return side, side, channels


def to_torch_layout(array: np.ndarray, image: Image | None = None) -> np.ndarray:
    """A parameter in torch's layout. ``image``: what is flattened before a linear layer."""
    if array.ndim == 4:  # (KH, KW, C/G, O) -> (O, C/G, KH, KW)
        return array.transpose(3, 2, 0, 1)
    if image is not None:  # (H*W*C, O) -> (O, C*H*W)
        return array.reshape(*image, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.T  # (I, O) -> (O, I), and biases as they are


def _from_torch_layout(array: np.ndarray, image: Image | None) -> np.ndarray:
    if array.ndim == 4:  # (O, C/G, KH, KW) -> (KH, KW, C/G, O)
        return array.transpose(2, 3, 1, 0)
    if image is not None:  # (O, C*H*W) -> (H*W*C, O)
        H, W, C = image
        return array.reshape(-1, C, H, W).transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
    return array.T


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter in torch's layout."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]
