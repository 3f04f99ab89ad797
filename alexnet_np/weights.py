"""Weights on disk and between frameworks: the border where layouts are converted.

                    here, Keras               torchvision, files
    convolution     (KH, KW, C/G, O)          (O, C/G, KH, KW)
    linear          (inputs, outputs)         (outputs, inputs)
    first linear    inputs in order H, W, C   inputs in order C, H, W

The last line is the one that is silently wrong when forgotten: the network runs, and knows nothing.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .backend import to_numpy
from .files import written_whole
from .layers.base import Parameter

if TYPE_CHECKING:
    from .models import Network

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


def save(net: "Network", path: str | os.PathLike[str]) -> None:
    """Write the weights as safetensors, with torchvision's names and layouts. The file appears whole or not at all.

    Raises OSError where it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(array) for name, array in to_torch(net).items()}
    try:
        with written_whole(path) as unfinished:
            save_file(tensors, unfinished, metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(f"weights: {path} cannot be written ({error})") from error


def load(net: "Network", path: str | os.PathLike[str]) -> None:
    """Read a safetensors file with torchvision's names and layouts into the network.

    Raises FileNotFoundError, ValueError (not readable as safetensors, other shapes) or KeyError (other names);
    the network is unchanged then.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: there is no file {path}")
    try:
        state = load_file(path)
    except (SafetensorError, TypeError) as error:  # TypeError: a dtype that NumPy does not have
        raise ValueError(f"weights: {path} cannot be read as safetensors ({error})") from error
    load_torch(net, state)


def to_torch(net: "Network") -> dict[str, np.ndarray]:
    """name -> array with torchvision's names and layouts. Views where the network's own memory serves."""
    return {torch_name(p): _to_torch_layout(to_numpy(p.data), shape) for p, shape in _with_images(net)}


def load_torch(net: "Network", state: Mapping[str, Any]) -> None:
    """Take over a state dict with torchvision's names and layouts (arrays or CPU tensors)."""
    parameters = {torch_name(p): (p, image) for p, image in _with_images(net)}
    _check_names(parameters, state)
    _check_shapes({name: _torch_shape(p.data.shape) for name, (p, _) in parameters.items()}, state)
    values = {}
    for name, (parameter, image) in parameters.items():
        with _naming(name):
            values[parameter.name] = _from_torch_layout(np.asarray(state[name]), image)
    load_state(net, values)


def to_keras(net: "Network") -> list[np.ndarray]:
    """The list that Keras's ``get_weights`` gives: kernel and bias of every layer, in order. Not copies."""
    return [to_numpy(parameter.data) for parameter in net.parameters()]


def load_keras(net: "Network", arrays: Sequence[Any]) -> None:
    """Take over the list that Keras's ``get_weights`` gives."""
    parameters = net.parameters()
    if len(arrays) != len(parameters):
        raise ValueError(f"weights: expected {len(parameters)} arrays, got {len(arrays)}")
    load_state(net, {parameter.name: array for parameter, array in zip(parameters, arrays, strict=True)})


def load_state(net: "Network", state: Mapping[str, Any]) -> None:
    """Take over name -> array in this project's layouts; everything is checked before anything is changed."""
    parameters = {parameter.name: parameter for parameter in net.parameters()}
    _check_names(parameters, state)
    _check_shapes({name: parameter.data.shape for name, parameter in parameters.items()}, state)
    values = {}
    for name, parameter in parameters.items():
        with _naming(name):
            values[name] = parameter.backend.asarray(state[name], parameter.data.dtype)
    for name, parameter in parameters.items():
        parameter.data[...] = values[name]


def torch_name(parameter: Parameter) -> str:
    """torchvision's name of a parameter."""
    layer, _, kind = parameter.name.rpartition(".")
    return f"{TORCHVISION_NAMES.get(layer, layer)}.{kind}"


def _with_images(net: "Network") -> list[tuple[Parameter, tuple[int, int, int] | None]]:
    """Every parameter; with the weight of the first linear layer, the image (H, W, C) that it takes flattened."""
    pairs: list[tuple[Parameter, tuple[int, int, int] | None]] = []
    channels = 0
    flattened = False
    for parameter in net.parameters():
        shape = parameter.data.shape
        image = None
        if len(shape) == 4:
            channels = shape[3]
        elif len(shape) == 2 and channels and not flattened:
            image, flattened = _square_image(parameter, channels), True
        pairs.append((parameter, image))
    return pairs


def _square_image(parameter: Parameter, channels: int) -> tuple[int, int, int]:
    inputs = parameter.data.shape[0]
    side = isqrt(inputs // channels)
    if side * side * channels != inputs:
        expected = f"a square image of {channels} channels"
        raise ValueError(f"weights: {parameter.name}: expected {expected}, got {inputs} inputs")
    return side, side, channels


def _to_torch_layout(array: np.ndarray, image: tuple[int, int, int] | None) -> np.ndarray:
    if array.ndim == 4:  # (KH, KW, C/G, O) -> (O, C/G, KH, KW)
        return array.transpose(3, 2, 0, 1)
    if image is not None:  # (H*W*C, O) -> (O, C*H*W)
        return array.reshape(*image, -1).transpose(3, 2, 0, 1).reshape(array.shape[1], -1)
    return array.T  # (I, O) -> (O, I), and biases as they are


def _from_torch_layout(array: np.ndarray, image: tuple[int, int, int] | None) -> np.ndarray:
    if array.ndim == 4:  # (O, C/G, KH, KW) -> (KH, KW, C/G, O)
        return array.transpose(2, 3, 1, 0)
    if image is not None:  # (O, C*H*W) -> (H*W*C, O)
        H, W, C = image
        return array.reshape(-1, C, H, W).transpose(2, 3, 1, 0).reshape(-1, array.shape[0])
    return array.T


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter in torch's layout."""
    return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]


def _check_names(expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
    missing, unknown = sorted(expected.keys() - got.keys()), sorted(got.keys() - expected.keys())
    if missing or unknown:
        parts = [f"{kind} {', '.join(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise KeyError(f"state dict: {'; '.join(parts)}")


def _check_shapes(expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Any]) -> None:
    last_layer = list(expected)[-2:]
    for name, shape in expected.items():
        got = tuple(np.shape(state[name]))
        if got != shape:
            hint = " (another num_classes?)" if name in last_layer else ""
            raise ValueError(f"state dict: {name}: expected shape {shape}, got {got}{hint}")


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of which array it is that a conversion failed."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"state dict: {name}: expected an array of numbers ({error})") from error
