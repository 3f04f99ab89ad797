"""The same numbers in another framework's order.

                    here, Keras               torchvision, files
    convolution     (KH, KW, C/G, O)          (O, C/G, KH, KW)
    linear          (inputs, outputs)         (outputs, inputs)
    first linear    inputs in order H, W, C   inputs in order C, H, W

The last line is the one that is silently wrong when forgotten: the network runs, and knows nothing.

What takes values over has ``strict``. With ``strict=False`` a last layer for another number of classes keeps its own:
for fine-tuning. All of them return the names of the parameters that were kept, with ``strict`` none.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import to_numpy
from ..layers.base import Parameter

if TYPE_CHECKING:
    from ..models import Network

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


def to_torch(net: "Network") -> dict[str, np.ndarray]:
    """name -> array with torchvision's names and layouts. Views where the network's own memory serves."""
    return {torch_name(p): _to_torch_layout(to_numpy(p.data), shape) for p, shape in _with_images(net)}


def load_torch(net: "Network", state: Mapping[str, Any], strict: bool = True) -> list[str]:
    """Take over a state dict with torchvision's names and layouts (arrays or CPU tensors)."""
    parameters = {torch_name(p): (p, image) for p, image in _with_images(net)}
    _check_names(parameters, state)
    shapes = {name: _torch_shape(p.data.shape) for name, (p, _) in parameters.items()}
    kept = _check_shapes(shapes, state, 0, strict)
    values = {}
    for name, (parameter, image) in parameters.items():
        if name not in kept:
            with _naming(name):
                values[parameter.name] = _from_torch_layout(np.asarray(state[name]), image)
    _take(net, values)
    return [parameters[name][0].name for name in kept]


def to_keras(net: "Network") -> list[np.ndarray]:
    """The list that Keras's ``get_weights`` gives: kernel and bias of every layer, in order. Not copies."""
    return [to_numpy(parameter.data) for parameter in net.parameters()]


def load_keras(net: "Network", arrays: Sequence[Any], strict: bool = True) -> list[str]:
    """Take over the list that Keras's ``get_weights`` gives."""
    parameters = net.parameters()
    if len(arrays) != len(parameters):
        raise ValueError(f"weights: expected {len(parameters)} arrays, got {len(arrays)}")
    return load_state(net, {p.name: array for p, array in zip(parameters, arrays, strict=True)}, strict)


def load_arrays(net: "Network", arrays: Mapping[str, Any] | Sequence[Any], strict: bool = True) -> list[str]:
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


def load_state(net: "Network", state: Mapping[str, Any], strict: bool = True) -> list[str]:
    """Take over name -> array in this project's layouts; everything is checked before anything is changed."""
    shapes = {parameter.name: parameter.data.shape for parameter in net.parameters()}
    _check_names(shapes, state)
    kept = _check_shapes(shapes, state, -1, strict)
    _take(net, {name: state[name] for name in shapes if name not in kept})
    return kept


def _take(net: "Network", values: Mapping[str, Any]) -> None:
    """Copy values of the right shapes into the parameters of these names: all or, where one is no numbers, none."""
    parameters = {p.name: p for p in net.parameters() if p.name in values}
    arrays = {}
    for name, parameter in parameters.items():
        _check_dtype(name, values[name], "fc" if parameter.data.dtype.kind == "c" else "f")
        with _naming(name):
            arrays[name] = parameter.backend.asarray(values[name], parameter.data.dtype)
    for name, parameter in parameters.items():
        parameter.data[...] = arrays[name]


def _check_dtype(name: str, array: Any, kinds: str) -> None:
    """Refuse integers, which may be quantised numbers or a mistake, and complex numbers that would lose a part."""
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuc" and dtype.kind not in kinds:
        raise ValueError(f"state dict: {name}: expected floating-point numbers, got {dtype}")


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


def _check_shapes(
    expected: Mapping[str, tuple[int, ...]], state: Mapping[str, Any], classes_axis: int, strict: bool
) -> list[str]:
    """The names of the last layer where it has another number of classes, and may have. ValueError otherwise."""
    last_layer = list(expected)[-1].rpartition(".")[0]
    in_last = [name for name in expected if name.rpartition(".")[0] == last_layer]
    kept = []
    for name, shape in expected.items():
        got = tuple(np.shape(state[name]))
        if got == shape:
            continue
        if not strict and name in in_last and _alike_but_for(classes_axis, got, shape):
            kept = in_last
            continue
        hint = " (another num_classes?)" if name in in_last else ""
        raise ValueError(f"state dict: {name}: expected shape {shape}, got {got}{hint}")
    return kept


def _alike_but_for(axis: int, got: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    free = axis % len(shape)
    return len(got) == len(shape) and all(g == s for i, (g, s) in enumerate(zip(got, shape, strict=True)) if i != free)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of which array it is that a conversion failed."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"state dict: {name}: expected an array of numbers ({error})") from error
