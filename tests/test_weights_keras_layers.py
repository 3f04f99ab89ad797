"""Keras models: the same layers give Keras's probabilities; other layers are refused, by name."""

import json
import zipfile

import h5py
import numpy as np
import pytest
from against_torch import relative_error
from keras_import import import_keras

from alexnet_np import layers, models, weights
from alexnet_np.weights import keras_files

keras = import_keras()
L = keras.layers

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*legacy"),
]

SIDE = 17
IMAGES = np.random.default_rng(0).standard_normal((2, SIDE, SIDE, 3), dtype=np.float32)


def ours():
    """alexnet_keras in small: every kind of layer that it has. 17 pixels: 5 x 5, then 2 x 2."""
    return models.Network(
        conv2d=layers.Conv2d(3, 5, 5, stride=3),
        relu=layers.ReLU(),
        conv2d_1=layers.Conv2d(5, 4, 3, padding=1),
        relu_1=layers.ReLU(),
        max_pooling2d=layers.MaxPool2d(3, 2),
        flatten=layers.Flatten(),
        dropout=layers.Dropout(0.5),
        dense=layers.Linear(16, 6),
        relu_2=layers.ReLU(),
        dense_1=layers.Linear(6, 3),
        softmax=layers.Softmax(),
    )


def conv(filters=5, size=5, strides=3, activation="relu", **more):
    return L.Conv2D(filters, size, strides=strides, activation=activation, **more)


def conv_1(size=3, padding="same", activation="relu", **more):
    return L.Conv2D(4, size, padding=padding, activation=activation, **more)


def body(first=None, second=None, pool=None, dense=None, last=None, side=SIDE):
    """The layers of ours in Keras, with some of them replaced."""
    return [
        keras.Input((side, side, 3)),
        *(first or [conv()]),
        *(second or [conv_1()]),
        pool or L.MaxPooling2D(3, 2),
        L.Flatten(),
        L.Dropout(0.5),
        dense or L.Dense(6, activation="relu"),
        *(last or [L.Dense(3, activation="softmax")]),
    ]


def functional(steps):
    value = inputs = steps[0]
    for layer in steps[1:]:
        value = layer(value)
    return keras.Model(inputs, value)


SAME = {
    "sequential": lambda: keras.Sequential(body()),
    "functional": lambda: functional(body()),
    "activations as layers": lambda: keras.Sequential(
        body(
            first=[conv(activation=None), L.Activation("relu")],
            second=[conv_1(activation="linear"), L.ReLU()],
            last=[L.Dense(3), L.Softmax()],
        )
    ),
    "activations as functions": lambda: keras.Sequential(body(first=[conv(activation=keras.activations.relu)])),
    "names of its own": lambda: keras.Sequential(body(first=[conv(name="dense_9"), L.SpatialDropout2D(0.1)])),
}


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize("make", SAME.values(), ids=SAME)
def test_the_same_layers_give_kerass_probabilities(make, suffix, tmp_path):
    model, path = make(), tmp_path / f"a{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    net = ours()
    weights.load(net, path)
    assert relative_error(net.forward(IMAGES, keep=False), model.predict(IMAGES, verbose=0)) <= 1e-5


def test_logits_without_a_softmax_are_no_other_network(tmp_path):
    model = keras.Sequential(body(last=[L.Dense(3)]))
    model.save(tmp_path / "a.keras")
    net = ours()
    weights.load(net, tmp_path / "a.keras")
    expected = np.exp(model.predict(IMAGES, verbose=0))
    assert relative_error(net.forward(IMAGES, keep=False), expected / expected.sum(axis=1, keepdims=True)) <= 1e-5


OTHERS = {
    "batch norm": (lambda: body(first=[conv(), L.BatchNormalization()]), "batch_normalization"),
    "rescaling": (lambda: body(first=[L.Rescaling(1 / 255), conv()]), "rescaling"),
    "normalization": (lambda: body(first=[L.Normalization(mean=0.5, variance=2), conv()]), "normalization"),
    "leaky relu": (lambda: body(first=[conv(activation=None), L.LeakyReLU()]), "leaky_re_lu"),
    "padding layer": (lambda: body(first=[L.ZeroPadding2D(0), conv()]), "zero_padding2d"),
    "average pooling": (lambda: body(pool=L.AveragePooling2D(3, 2)), "average_pooling2d"),
    "a model inside": (lambda: body(second=[keras.Sequential([conv_1()])]), "sequential"),
    "depthwise": (lambda: body(first=[L.DepthwiseConv2D(1), conv()]), "depthwise_conv2d"),
}
SETTINGS = {
    "tanh": (lambda: body(first=[conv(activation="tanh")]), "activation: expected relu, softmax or linear, got 'tanh'"),
    "sigmoid at the end": (lambda: body(last=[L.Dense(3, activation="sigmoid")]), "activation: .* got 'sigmoid'"),
    "no activation": (lambda: body(first=[conv(activation=None)]), r"expected relu \(as relu\), got Conv2D"),
    "softmax inside": (lambda: body(dense=L.Dense(6, activation="softmax")), "expected relu .*, got softmax"),
    "tanh as a layer": (lambda: body(first=[conv(activation=None), L.Activation("tanh")]), "got 'tanh'"),
    "relu up to 6": (lambda: body(first=[conv(activation=None), L.ReLU(6)]), "expected a plain ReLU"),
    "leaky as a setting": (
        lambda: body(first=[conv(activation=L.ReLU(negative_slope=0.1))]),
        "expected a plain ReLU|activation: expected relu",
    ),
    "strides": (lambda: body(first=[conv(strides=2)], side=13), r"strides: expected \(3, 3\), got \(2, 2\)"),
    "padding": (lambda: body(first=[conv(padding="same")], side=15), "padding: expected valid, got 'same'"),
    "no padding": (lambda: body(second=[conv_1(padding="valid")], side=23), "padding: expected same, got 'valid'"),
    "dilation": (lambda: body(second=[conv_1(dilation_rate=2)]), r"dilation_rate: expected \(1, 1\), got \(2, 2\)"),
    "pool size": (lambda: body(pool=L.MaxPooling2D(2, 2)), r"pool_size: expected \(3, 3\), got \(2, 2\)"),
    "pool strides": (lambda: body(pool=L.MaxPooling2D(3, 2, padding="same"), side=14), "padding: expected valid"),
    "no bias": (lambda: body(dense=L.Dense(6, activation="relu", use_bias=False)), "expected 8 arrays, got 7|use_bias"),
    "another order": (
        lambda: body(second=[L.MaxPooling2D(1), conv_1()]),
        r"expected Conv2D \(as conv2d_1\), got MaxPooling2D",
    ),
    "other images": (lambda: body(side=24), "it takes other images"),
}


def refused(path, message):
    net = ours()
    before = [p.data.copy() for p in net.parameters()]
    with pytest.raises(ValueError, match=message):
        weights.load(net, path)
    assert all(np.array_equal(p.data, array) for p, array in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
@pytest.mark.parametrize(("make", "name"), OTHERS.values(), ids=OTHERS)
def test_layers_that_compute_something_else_are_refused_by_name(make, name, suffix, tmp_path):
    model, path = keras.Sequential(make()), tmp_path / f"a{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    refused(path, rf"layer '?{name}|{name}")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(("make", "message"), SETTINGS.values(), ids=SETTINGS)
def test_other_settings_are_refused_by_name(make, message, suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    keras.Sequential(make()).save(path)
    refused(path, message)


def test_layers_that_form_no_chain_are_refused(tmp_path):
    inputs, first, *rest = body()
    value = L.Add()([first(inputs), conv()(inputs)])
    for layer in rest:
        value = layer(value)
    keras.Model(inputs, value).save(tmp_path / "a.keras")
    refused(tmp_path / "a.keras", "add|expected one input")


def test_a_layer_of_ones_own_is_refused_whatever_it_is_called(tmp_path):
    class Dense(L.Dense):
        def call(self, x):
            return -super().call(x)

    keras.Sequential(body(dense=Dense(6, activation="relu"))).save(tmp_path / "a.keras")
    refused(tmp_path / "a.keras", r"expected a layer of Keras's, got '.*Dense' of ")


def test_a_class_of_ones_own_that_is_called_as_keras_calls_its_own_is_refused(tmp_path):
    class Conv2D(L.Conv2D):
        def call(self, x):
            return -super().call(x)

    class Sequential(keras.Sequential):
        pass

    Conv2D.__module__ = Sequential.__module__ = "__main__"  # which Keras writes as None
    keras.Sequential(body(first=[Conv2D(5, 5, strides=3, activation="relu")])).save(tmp_path / "a.keras")
    refused(tmp_path / "a.keras", "layer conv2d.*: expected a layer of Keras's, got 'Conv2D' of None")
    Sequential(body()).save(tmp_path / "a.keras")
    refused(tmp_path / "a.keras", "expected a model of Keras's, got 'Sequential' of None")


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_layers_that_compute_nothing_in_a_test_may_be_there(suffix, tmp_path):
    more = [L.RandomFlip(), L.RandomRotation(0.1), L.RandomContrast(0.1), L.Identity(), L.ActivityRegularization(0.1)]
    model, path = keras.Sequential(body(first=[*more, conv()])), tmp_path / f"a{suffix}"
    model.save_weights(path) if suffix == ".weights.h5" else model.save(path)
    net = ours()
    weights.load(net, path)
    assert relative_error(net.forward(IMAGES, keep=False), model.predict(IMAGES, verbose=0)) <= 1e-5
    keras.Sequential(body(first=[L.RandomCrop(SIDE, SIDE), conv()])).save(tmp_path / "b.keras")
    refused(tmp_path / "b.keras", r"b\.keras: layer random_crop.* is a RandomCrop, which no network here has")


def test_names_are_those_that_keras_gives():
    for kind in keras_files.NOTHING_IN_A_TEST:
        assert keras.src.utils.naming.to_snake_case(kind) == keras_files.default_name(kind)


def test_keras_2_says_of_layers_without_weights_only_their_names(tmp_path):
    """save_weights to .h5."""
    from keras.src.legacy.saving import legacy_h5_format

    model = keras.Sequential(body(pool=L.AveragePooling2D(3, 2)))
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        legacy_h5_format.save_weights_to_hdf5_group(h5, model)
    refused(tmp_path / "a.h5", r"a\.h5: layer 'average_pooling2d.*' is of a kind that no network here has")


def test_bfloat16_is_named(tmp_path):
    weights.save(ours(), tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as h5:
        del h5["layers/dense/vars/0"]
        h5["layers/dense/vars/0"] = np.zeros((16, 6), "V2")
    refused(tmp_path / "a.weights.h5", "expected float16, float32 or float64, got bfloat16")


# ---- damaged descriptions


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "a.keras"
    keras.Sequential(body()).save(path)
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json")), archive.read("model.weights.h5")


LAYERS = ["config", "layers"]


def changed(config, path, value):
    config = json.loads(json.dumps(config))
    inner = config
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return json.dumps(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda config: "{", "Expecting property name"),
        (lambda config: "[" * 100_000, "nested too deeply|Expecting"),
        (lambda config: " " * 5_000_000, "config.json has more than 4,000,000 bytes"),
        (lambda config: "7", "config.json: cannot be understood"),
        (lambda config: changed(config, ["class_name"], "Sub"), "expected a Sequential or Functional model, got 'Sub'"),
        (lambda config: changed(config, LAYERS, 7), "config.json: cannot be understood"),
        (lambda config: changed(config, LAYERS, []), r"expected Conv2D \(as conv2d\), got the end"),
        (lambda config: changed(config, [*LAYERS, 1], None), "config.json: cannot be understood"),
        (lambda config: changed(config, [*LAYERS, 1, "config"], {}), "config.json: cannot be understood"),
        (lambda config: changed(config, [*LAYERS, 1, "config", "kernel_size"], "ab"), "expected a whole number or two"),
        (
            lambda config: changed(config, [*LAYERS, 1, "config", "strides"], [1, 2, 3]),
            "expected a whole number or two",
        ),
        (lambda config: changed(config, [*LAYERS, 1, "config", "activation"], [7]), r"activation: .* got \[7\]"),
        (lambda config: changed(config, [*LAYERS, 1, "config", "data_format"], "channels_first"), "channels_last"),
        (lambda config: changed(config, [*LAYERS, 1, "module"], 7), "expected a layer of Keras's, got 'Conv2D' of 7"),
    ],
)
def test_a_damaged_description_meets_a_sentence(good, text, message, tmp_path):
    config, numbers = good
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", text(config))
        archive.writestr("model.weights.h5", numbers)
    refused(tmp_path / "a.keras", message)


def test_an_archive_without_a_description_is_refused(good, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("model.weights.h5", good[1])
    refused(tmp_path / "a.keras", r"the zip file holds no 'config\.json'")


@pytest.mark.parametrize("value", [7, np.zeros(3), "{", np.bytes_(b"\xff")])
def test_a_damaged_attribute_meets_a_sentence(tmp_path, value):
    keras.Sequential(body()).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as h5:
        h5.attrs["model_config"] = value
    refused(tmp_path / "a.h5", "cannot be read as Keras's HDF5")


def test_a_functional_model_of_keras_2(tmp_path):
    """Whose inbound_nodes are lists."""
    keras.Sequential(body()).save(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as h5:
        config = json.loads(h5.attrs["model_config"])
        config["class_name"], before = "Functional", None
        for layer in config["config"]["layers"]:
            layer["inbound_nodes"] = [[[before, 0, 0, {}]]] if before else []
            before = layer["config"]["name"]
        h5.attrs["model_config"] = json.dumps(config)
    weights.load(ours(), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as h5:
        config["config"]["layers"][4]["inbound_nodes"][0][0][0] = "elsewhere"
        h5.attrs["model_config"] = json.dumps(config)
    refused(tmp_path / "a.h5", "expected one input, the layer before it")


def test_quantised_numbers_are_refused_by_name(tmp_path):
    weights.save(ours(), tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "a.weights.h5", "r+") as h5:
        del h5["layers/dense/vars/0"]
        h5["layers/dense/vars/0"] = np.ones((16, 6), np.int8)
    refused(
        tmp_path / "a.weights.h5", "layers/dense/vars/0: expected floating-point numbers .* int8: a quantised model"
    )
