"""The layers that a Keras file describes, compared with those of the network that its weights are for.

A .keras file (config.json) and a .h5 file of a whole model (the attribute model_config) say which layers their weights
belong to. Weights fit by their shapes alone; where the layers between them are others, the network would answer, and
wrongly. So everything that computes is compared, in order: kinds of layers, activations, sizes of kernels and
windows, strides, padding, groups, and whether there is a bias. What only training sees (dropout, random flips) does not
count, nor a softmax at the end, which turns logits into probabilities. A .weights.h5 file says less: see keras_files.

Source: keras/src/models/sequential.py, functional.py and the layers' get_config of Keras 3.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import Conv2d, Dropout, Linear, MaxPool2d, ReLU, Softmax
from ..layers.classes import is_as_its_class_says
from ..reading import json_value
from .keras_files import NOTHING_IN_A_TEST, OtherLayers

if TYPE_CHECKING:
    from ..layers import Container


@dataclass(frozen=True)
class Operation:
    """What a layer computes: its kind in Keras's words, and the settings that decide it. ``layer`` is its name."""

    kind: str
    layer: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """What a file says of its model: the image that it takes, (H, W, C), where it is fixed, and what it computes."""

    image: tuple[int, ...] | None
    operations: list[Operation]


# ---- from files


def described(where: str, text: str) -> Layers:
    """From the JSON in a file. ValueError where it cannot be understood, or has a layer that no network here has.

    ``where`` is what the description is called in the file.
    """
    try:
        model = json_value(text)
        layers = list(_layers(model))
        operations = [operation for layer in layers for operation in _operations(layer)]
        return Layers(_image(layers), operations)
    except RecursionError as error:
        raise ValueError(f"{where}: is nested too deeply") from error
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{where}: cannot be understood ({type(error).__name__}: {error})") from error


def _layers(model: Any) -> Iterator[dict[str, Any]]:
    """The descriptions of the layers, in order."""
    kind = model["class_name"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise OtherLayers(f"expected a Sequential or Functional model, got {kind!r:.200}")
    _check_of_keras("expected a model of Keras's", model)
    config = model["config"]
    layers = config if isinstance(config, list) else config["layers"]  # a list: the first versions of Keras 2
    before: list[str] = []
    for layer in layers:
        if kind != "Sequential":
            if _sources(layer["inbound_nodes"]) != before:
                raise OtherLayers(f"layer {_name(layer)}: expected one input, the layer before it")
            before = [_name(layer)]
        yield layer


def _sources(nodes: Any) -> list[str]:
    """The layers whose outputs a layer takes: Keras 2 and 3 write [name, 0, 0] each, within lists and dicts."""
    found: list[str] = []
    rest = [nodes]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest += value.values()
        elif isinstance(value, list):
            if [type(item) for item in value[:3]] == [str, int, int]:
                found.append(value[0])
            else:
                rest += value
    return found


def _image(layers: Sequence[dict[str, Any]]) -> tuple[int, ...] | None:
    for layer in layers[:1]:
        config = layer["config"]
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        if isinstance(shape, list) and all(type(n) is int and n > 0 for n in shape[1:]):
            return tuple(shape[1:])
    return None


def _name(layer: dict[str, Any]) -> str:
    return str(layer.get("name") or layer["config"].get("name", layer["class_name"]))[:200]


def _operations(layer: dict[str, Any]) -> Iterator[Operation]:
    """What a layer computes, with its activation after it. ValueError for what no network here computes."""
    kind, config, name = layer["class_name"], layer["config"], _name(layer)
    _check_of_keras(f"layer {name}: expected a layer of Keras's", layer)
    if config.get("data_format") not in (None, "channels_last"):
        raise OtherLayers(f"layer {name}: data_format: expected channels_last, got {config['data_format']!r:.200}")
    if kind == "Conv2D":
        kernel, strides = _pair(config["kernel_size"]), _pair(config.get("strides", 1))
        settings = {
            "kernel_size": kernel,
            "strides": strides,
            "padding": _padding(config.get("padding", "valid"), kernel),
            "groups": config.get("groups", 1),
            "dilation_rate": _pair(config.get("dilation_rate", 1)),
            "use_bias": config.get("use_bias", True),
        }
        yield Operation(kind, name, settings)
    elif kind == "Dense":
        yield Operation(kind, name, {"use_bias": config.get("use_bias", True)})
    elif kind == "MaxPooling2D":
        window = _pair(config.get("pool_size", 2))
        settings = {
            "pool_size": window,
            "strides": _pair(config.get("strides") or window),
            "padding": _padding(config.get("padding", "valid"), window),
            "ceil_mode": False,
        }
        yield Operation(kind, name, settings)
    elif kind == "Flatten":
        yield Operation(kind, name, {})
    elif kind == "ReLU":
        if config.get("max_value") is not None or config.get("negative_slope") or config.get("threshold"):
            raise OtherLayers(f"layer {name}: expected a plain ReLU, got a slope, a threshold or a largest value")
        yield Operation("relu", name, {})
    elif kind == "Softmax":
        if config.get("axis", -1) not in (-1, 1):
            raise OtherLayers(f"layer {name}: axis: expected -1, got {config['axis']!r:.200}")
        yield Operation("softmax", name, {})
    elif kind not in ("InputLayer", "Activation", *NOTHING_IN_A_TEST):
        raise OtherLayers(
            f"layer {name} is a {kind:.200}, which no network here has: its weights would give other answers without it"
        )
    yield from _activation(name, config.get("activation"))


def _activation(name: str, activation: Any) -> Iterator[Operation]:
    if isinstance(activation, dict) and activation.get("class_name") in ("ReLU", "Softmax"):  # a layer as activation
        yield from _operations(activation)
    elif activation in ("relu", "softmax"):
        yield Operation(activation, name, {})
    elif activation not in (None, "linear"):
        got = activation.get("config") if isinstance(activation, dict) else activation
        raise OtherLayers(f"layer {name}: activation: expected relu, softmax or linear, got {got!r:.200}")


def _check_of_keras(expected: str, item: dict[str, Any]) -> None:
    """Keras 3 says where a class comes from; that of one's own has the module None. Keras 2 does not say."""
    module, registered = item.get("module", "keras"), item.get("registered_name") or ""
    if not isinstance(module, str) or module.partition(".")[0] != "keras" or ">" in str(registered):
        got = str(registered or item["class_name"])
        raise OtherLayers(f"{expected}, got {got!r:.200} of {module!r:.200}")


def _pair(value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(type(n) is int for n in pair):
        raise ValueError(f"expected a whole number or two, got {value!r:.200}")
    return pair


def _padding(padding: Any, kernel: tuple[int, int]) -> str:
    """A window of one pixel needs none: "same" is "valid" there."""
    return "valid" if kernel == (1, 1) else str(padding)[:200]


# ---- against a network

# By the exact class: a subclass may compute something else.
KERAS_NAMES: dict[type | None, str] = {
    Conv2d: "Conv2D",
    MaxPool2d: "MaxPooling2D",
    Linear: "Dense",
    ReLU: "relu",
    Softmax: "softmax",
}


def compare(path: str | os.PathLike[str], described: Layers, net: "Container") -> None:
    """ValueError, naming the first difference, where the network computes something else than the model in the file."""
    expected, got = _without_softmax(_of_network(net)), _without_softmax(described.operations)
    for ours, theirs in zip_longest(expected, got):
        if difference := _difference(ours, theirs):
            raise OtherLayers(f"weights: {path} is another network than {type(net).__name__}: {difference}")
    if described.image is not None:
        try:
            net.output_shape((1, *described.image))
        except ValueError as error:
            raise ValueError(f"weights: {path} is another network: it takes other images ({error!s:.300})") from error


def _difference(ours: Operation | None, theirs: Operation | None) -> str | None:
    if ours is None or theirs is None or ours.kind != theirs.kind:
        expected = "the end" if ours is None else f"{ours.kind} (as {ours.layer})"
        got = "the end" if theirs is None else f"{theirs.kind} (layer {theirs.layer})"
        return f"expected {expected}, got {got}"
    for setting, value in ours.settings.items():
        if theirs.settings.get(setting) != value:
            return f"layer {theirs.layer}: {setting}: expected {value}, got {theirs.settings.get(setting)!r:.200}"
    return None


def _without_softmax(operations: list[Operation]) -> list[Operation]:
    return operations[:-1] if operations and operations[-1].kind == "softmax" else operations


def _of_network(net: "Container") -> list[Operation]:
    operations = []
    for name, layer in net.steps():
        kind = type(layer) if is_as_its_class_says(layer) else None
        settings: dict[str, Any] = {}
        if isinstance(layer, Dropout) and kind is Dropout and layer.inverted:
            continue
        if isinstance(layer, Conv2d) and kind is Conv2d:
            settings = {
                "kernel_size": layer.kernel_size,
                "strides": layer.stride,
                "padding": _padding_in_words(layer),
                "groups": layer.groups,
                "dilation_rate": (1, 1),
                "use_bias": layer.bias is not None,
            }
        elif isinstance(layer, MaxPool2d) and kind is MaxPool2d:
            settings = {
                "pool_size": layer.kernel_size,
                "strides": layer.stride,
                "padding": _padding_in_words(layer),
                "ceil_mode": layer.ceil_mode,
            }
        elif isinstance(layer, Linear) and kind is Linear:
            settings = {"use_bias": layer.bias is not None}
        operations.append(Operation(KERAS_NAMES.get(kind, type(layer).__name__), name, settings))
    return operations


def _padding_in_words(layer: Conv2d | MaxPool2d) -> str:
    """ "valid", or "same" where that has one meaning: for steps of one pixel and windows with a middle."""
    pads = [np.broadcast_to(ends, 2).tolist() for ends in layer.padding]
    middle = [[(size - 1) // 2] * 2 for size in layer.kernel_size]
    if not np.any(pads):
        return "valid"
    odd = all(size % 2 for size in layer.kernel_size)
    return "same" if pads == middle and odd and layer.stride == (1, 1) else f"{pads} pixels"
