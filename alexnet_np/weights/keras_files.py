"""Keras's files, without Keras or TensorFlow: their forms and names, and how they are written.

    .weights.h5     HDF5: layers/NAME/vars/0, the kernel, and /1, the bias. NAME is a layer's class and which one of
                    its class it is: conv2d, conv2d_1, ..., dense, dense_1, whatever the layer itself is called
    .keras          a zip file: config.json describes the layers, model.weights.h5 is as above
    .h5             Keras 2's: attributes list the layers and their weights. Only read

They are read by h5py in a process of its own: keras_child.py, keras_hdf5.py.

Source: keras/src/saving/saving_lib.py and keras/src/legacy/saving/legacy_h5_format.py of Keras 3.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..backend import to_numpy
from ..layers import Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Softmax
from .zips import members

if TYPE_CHECKING:
    from ..layers import Container

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
WEIGHTS, CONFIG = "model.weights.h5", "config.json"
NAMES = {4: "conv2d", 2: "dense"}  # by the axes of the kernel
# Layers that compute nothing in a test, by their classes.
NOTHING_IN_A_TEST = (
    *("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout"),
    *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast", "RandomBrightness"),
    *("ActivityRegularization", "Identity"),
)


def default_name(kind: str) -> str:
    """The name that Keras gives to the first layer of a class: SpatialDropout2D is spatial_dropout2d."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()


# Layers without weights that a .weights.h5 lists, and that the networks here have or may lack. What function an
# Activation is, such a file does not say.
WITHOUT_WEIGHTS = (
    *("activation", "flatten", "input", "input_layer", "max_pooling2d", "re_lu", "softmax"),
    *map(default_name, NOTHING_IN_A_TEST),
)
# Layers without weights that compute something, by the names that Keras 2 gives them: its .h5 of save_weights says
# no more than names, and a layer may have one of its own.
OTHERS = (
    *("leaky_re_lu", "elu", "threshold", "thresholded_re_lu", "rescaling", "center_crop", "random_crop", "resizing"),
    *("lambda", "reshape", "permute", "repeat_vector", "masking", "zero_padding2d", "cropping2d", "up_sampling2d"),
    *("average_pooling2d", "global_average_pooling2d", "global_max_pooling2d", "max_pooling1d", "average_pooling1d"),
    *("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate", "dot", "unit_normalization"),
)


class OtherLayers(ValueError):  # noqa: N818
    """The file is whole; its model has layers, or settings of layers, that no network here has."""


def import_h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Keras's files need h5py, which is not installed (pip install 'alexnet-np[keras]')"
        ) from error
    return h5py


def is_archive(file: BinaryIO) -> bool:
    """Whether a zip file is one of Keras's."""
    try:
        with members(file) as archive:
            return WEIGHTS in archive.namelist()
    except ValueError:
        return False


def numbered(kind: str, number: int) -> str:
    """Keras's name of a class's layers in turn: conv2d, conv2d_1, ..."""
    return f"{kind}_{number}" if number else kind


# ---- writing


def write_h5(net: "Container", path: Path) -> None:
    """For load_weights of a Keras model with the same layers."""
    path.write_bytes(_h5(net))


def write_archive(net: "Container", path: Path) -> None:
    """A Keras model, of alexnet_keras: for load_weights, and for keras.saving.load_model. ValueError for others."""
    config = json.dumps(_model(net))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0"}))
        archive.writestr(CONFIG, config)
        archive.writestr(WEIGHTS, _h5(net))


def _h5(net: "Container") -> bytes:
    file = io.BytesIO()
    layers: dict[str, int] = {}
    with import_h5py().File(file, "w") as h5:
        for name, layer in net.steps():
            parameters = [parameter for _, parameter in layer.named_parameters()]
            if not parameters:
                continue
            if type(layer) not in (Conv2d, Linear):
                raise TypeError(f"weights: Keras's files: {name}: expected Conv2d or Linear, got {layer.label}")
            kind = NAMES[parameters[0].data.ndim]
            layers[kind] = layers.get(kind, -1) + 1
            group = h5.create_group(f"layers/{numbered(kind, layers[kind])}/vars")
            for number, parameter in enumerate(parameters):
                group[str(number)] = to_numpy(parameter.data)
    return file.getvalue()


def _model(net: "Container") -> dict[str, Any]:
    """The description of the Sequential in config.json; what it leaves out is Keras's default."""
    input_shape = getattr(net, "keras_input_shape", None)
    if input_shape is None:
        raise ValueError(f"weights: .keras: expected alexnet_keras, a Keras model, got {type(net).__name__}")
    layers = [_layer("InputLayer", "input_layer", batch_shape=(None, *input_shape))]
    for name, layer in net.steps():
        kind = type(layer)
        if isinstance(layer, Conv2d) and kind is Conv2d:
            size = {"kernel_size": layer.kernel_size, "strides": layer.stride, "groups": layer.groups}
            config = {"filters": layer.out_channels, "padding": _padding(name, layer), **size}
            layers.append(_layer("Conv2D", name, **config, use_bias=layer.bias is not None))
        elif isinstance(layer, MaxPool2d) and kind is MaxPool2d:
            if (layer.padding, layer.ceil_mode, layer.ties) != ((0, 0), False, "first"):
                raise ValueError(f"weights: .keras: {name}: expected a pooling that Keras has, got {layer.label}")
            layers.append(_layer("MaxPooling2D", name, pool_size=layer.kernel_size, strides=layer.stride))
        elif kind is Flatten:
            layers.append(_layer("Flatten", name))
        elif isinstance(layer, Dropout) and kind is Dropout and layer.inverted:
            layers.append(_layer("Dropout", name, rate=layer.p))
        elif isinstance(layer, Linear) and kind is Linear:
            layers.append(_layer("Dense", name, units=layer.out_features, use_bias=layer.bias is not None))
        elif kind in (ReLU, Softmax):
            activation = kind.__name__.lower()
            if layers[-1]["class_name"] in ("Conv2D", "Dense") and "activation" not in layers[-1]["config"]:
                layers[-1]["config"]["activation"] = activation
            else:
                layers.append(_layer("Activation", name, activation=activation))
        else:
            raise ValueError(f"weights: .keras: {name}: expected a layer that Keras has, got {layer.label}")
    sequential = {"name": "sequential", "layers": layers, "build_input_shape": (None, *input_shape)}
    return {"module": "keras", "class_name": "Sequential", "config": sequential, "registered_name": None}


def _padding(name: str, layer: Conv2d) -> str:
    """Keras's word for the padding; "same" is what it is with a stride of 1."""
    if layer.padding == (0, 0):
        return "valid"
    if layer.stride == (1, 1) and layer.padding == tuple((size - 1) / 2 for size in layer.kernel_size):
        return "same"
    raise ValueError(f"weights: .keras: {name}: expected padding 'valid' or 'same', got {layer!r}")


def _layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    description = {"module": "keras.layers", "class_name": kind, "config": {"name": name, **config}}
    return {**description, "registered_name": None}
