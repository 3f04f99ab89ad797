"""The summary tables: equal to what torchsummary and Keras print, and to figures worked out by hand."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from alexnet_np import layers, models, summary

EXPECTED = Path(__file__).parent / "expected"


@pytest.fixture(scope="module")
def alexnet():
    return models.alexnet(init="zeros")


@pytest.fixture(scope="module")
def alexnet_keras():
    return models.alexnet_keras(init="zeros")


def small_network():
    return layers.Sequential(
        layers.Conv2d(4, 6, (3, 2), 2, (1, 0), groups=2, bias=False),
        layers.ReLU(),
        layers.LocalResponseNorm(3),
        layers.MaxPool2d(3, 2, 1, ceil_mode=True),
        layers.AdaptiveAvgPool2d((2, 3)),
        layers.Flatten(),
        layers.Linear(36, 70_000),
        layers.Softmax(),
    )


def test_torchsummary_is_the_well_known_table(alexnet):
    assert summary.torchsummary(alexnet, (3, 227, 227)) + "\n" == (EXPECTED / "torchsummary.txt").read_text("utf-8")


def test_torchsummary_of_another_network_and_size(alexnet):
    """Grouped, without bias, non-square, a batch: torchsummary 1.5.1 printed this for the same layers in torch."""
    table = summary.torchsummary(small_network(), (4, 1300, 1700), batch_size=5)
    assert table + "\n" == (EXPECTED / "torchsummary_small.txt").read_text("utf-8")


def test_torchsummary_of_alexnet_at_another_size(alexnet):
    """By hand: 100 -> 24 -> 11 -> 5 -> 2 rows, 131 -> 32 -> 15 -> 7 -> 3 columns, 6x6 after the adaptive pool."""
    lines = summary.torchsummary(alexnet, (3, 100, 131)).splitlines()
    shapes = [line[20:48].strip() for line in lines[3:24]]
    assert shapes[:3] == ["[-1, 64, 24, 32]", "[-1, 64, 24, 32]", "[-1, 64, 11, 15]"]
    assert shapes[5:7] == ["[-1, 192, 5, 7]", "[-1, 384, 5, 7]"]
    assert shapes[12:15] == ["[-1, 256, 2, 3]", "[-1, 256, 6, 6]", "[-1, 9216]"]
    convolutions = 2 * (64 * 24 * 32 + 192 * 11 * 15 + (384 + 256 + 256) * 5 * 7)
    pools = 64 * 11 * 15 + 192 * 5 * 7 + 256 * 2 * 3 + 256 * 6 * 6
    linear = 2 * 9216 - 9216 + 6 * 4096 - 4096 + 1000  # two dropouts, two hidden layers with ReLU, the logits
    assert lines[-4] == f"Forward/backward pass size (MB): {2 * 4 * (convolutions + pools + linear) / 2**20:.2f}"


def test_keras_2_table_is_the_well_known_one(alexnet_keras):
    assert summary.keras(alexnet_keras) + "\n" == (EXPECTED / "keras.txt").read_text("utf-8")


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # Keras's table is as wide as the terminal, up to 88 columns
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    keras.utils.clear_session()  # it numbers layers through the process
    return keras


def printed(model):
    parts = []
    model.summary(print_fn=parts.append)
    return "".join(parts).rstrip("\n")


def test_keras_3_table_of_alexnet(alexnet_keras, keras):
    L = keras.layers
    model = keras.Sequential(
        [
            keras.Input((227, 227, 3)),
            L.Conv2D(64, 11, strides=4, activation="relu"),
            L.MaxPooling2D(3, 2),
            L.Conv2D(192, 5, padding="same", activation="relu"),
            L.MaxPooling2D(3, 2),
            L.Conv2D(384, 3, padding="same", activation="relu"),
            L.Conv2D(256, 3, padding="same", activation="relu"),
            L.Conv2D(256, 3, padding="same", activation="relu"),
            L.MaxPooling2D(3, 2),
            L.Flatten(),
            L.Dropout(0.5),
            L.Dense(4096, activation="relu", kernel_initializer="zeros"),
            L.Dropout(0.5),
            L.Dense(4096, activation="relu", kernel_initializer="zeros"),
            L.Dropout(0.5),
            L.Dense(1000, activation="softmax"),
        ]
    )
    assert summary.keras(alexnet_keras, style="keras3") == printed(model)


def test_keras_3_table_of_another_network(keras):
    """A ReLU that is a layer, one that is an argument, a name that wraps, a total below a megabyte."""

    class LayerOfOnesOwn(keras.layers.ReLU):
        pass

    model = keras.Sequential(
        [
            keras.Input((37, 50, 3)),
            keras.layers.Conv2D(5, 3, strides=2, activation="relu"),
            keras.layers.MaxPooling2D(3, 2),
            keras.layers.ReLU(),
            keras.layers.Conv2D(100, (1, 2), use_bias=False),
            keras.layers.MaxPooling2D(2, 2),
            LayerOfOnesOwn(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )

    net = layers.Sequential(
        layers.Conv2d(3, 5, 3, stride=2),
        layers.ReLU(),
        layers.MaxPool2d(3, 2),
        layers.ReLU(),
        layers.Conv2d(5, 100, (1, 2), bias=False),
        layers.MaxPool2d(2, 2),
        type("LayerOfOnesOwn", (layers.ReLU,), {})(),
        layers.Flatten(),
        layers.Dropout(),
        layers.Linear(2000, 7),
        layers.Softmax(),
    )
    table = summary.keras(net, (37, 50, 3), style="keras3")
    assert table == printed(model)
    assert "KB" in table
    model.layers[0].trainable = False
    net[0].requires_grad_(False)
    assert summary.keras(net, (37, 50, 3), style="keras3") == printed(model)


def test_frozen_parameters_are_told_apart_from_those_that_learn():
    """3*5 + 5 numbers of 32 are frozen; the others take room for a gradient and a velocity each."""
    net = layers.Sequential(layers.Linear(3, 5), layers.Linear(5, 2)).to("reference", "float64")
    net[0].requires_grad_(False)
    for table in (summary.torchsummary(net, (3,)), summary.keras(net, (3,))):
        assert "Total params: 32\nTrainable params: 12\nNon-trainable params: 20\n" in table
    net = layers.Sequential(layers.Linear(512, 256, bias=False), layers.Linear(256, 128, bias=False))
    net[0].requires_grad_(False)
    assert "Parameters: 0.62 MiB; in training with gradients and momentum: 0.88 MiB" in summary.costs(net, (1, 512))


def test_rows_of_alexnet(alexnet):
    """714,188,480 multiply-adds an image at 224 is the published figure; 61,100,840 parameters too."""
    rows = summary.rows(alexnet, (1, 224, 224, 3))
    assert sum(row.macs for row in rows) == 714_188_480
    assert sum(row.parameters for row in rows) == 61_100_840
    assert asdict(rows[0]) == {
        "name": "features.0",
        "layer": "Conv2d",
        "output_shape": (1, 55, 55, 64),
        "parameters": 11 * 11 * 3 * 64 + 64,
        "macs": 55 * 55 * 64 * 11 * 11 * 3,
        "activation_bytes": 55 * 55 * 64 * 4,
    }
    assert json.loads(json.dumps([asdict(row) for row in rows]))[-1]["name"] == "classifier.6"


@pytest.mark.parametrize("variant", ["paper", "code"])
def test_rows_of_the_2012_network(variant):
    """Groups halve the multiply-adds of convolutions 2, 4 and 5."""
    rows = summary.rows(models.alexnet_2012(variant, init="zeros"), (2, 224, 224, 3))
    assert sum(row.macs for row in rows) == 2 * 724_406_816
    assert sum(row.parameters for row in rows) == 60_965_224


def test_rows_take_memory_in_the_network_s_dtype():
    net = layers.Sequential(layers.Flatten(), layers.Linear(6, 5)).to("cpu", "float64")
    view, linear = summary.rows(net, (4, 1, 2, 3))
    assert (view.activation_bytes, linear.activation_bytes) == (0, 4 * 5 * 8)


def test_costs_table_adds_up(alexnet):
    """And runs nothing: a million large images would not fit into any memory."""
    table = summary.costs(alexnet, (1_000_000, 1000, 2000, 3)).splitlines()
    rows = summary.rows(alexnet, (1_000_000, 1000, 2000, 3))
    total = next(line for line in table if line.startswith("total")).split()
    activations = sum(row.activation_bytes for row in rows)
    assert total == ["total", "61,100,840", f"{sum(row.macs for row in rows):,}", f"{activations / 2**20:,.2f}"]
    assert table[0].split()[:2] == ["layer", "kind"]
    assert len({len(line) for line in table if line.startswith(("layer", "-", "features", "total"))}) == 1
    assert "Parameters: 233.08 MiB; in training with gradients and momentum: 699.24 MiB" in table


def test_a_single_layer_has_tables_too():
    layer = layers.Linear(3, 2)
    assert "Linear-1" in summary.torchsummary(layer, (3,))
    assert "dense (Dense)" in summary.keras(layer, (3,))
    assert summary.rows(layers.MaxPool2d(2), (1, 4, 6, 5))[0].activation_bytes == 2 * 3 * 5 * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: summary.torchsummary(net, 227), r"torchsummary: input_size: expected \(C, H, W\), got 227"),
        (lambda net: summary.torchsummary(net, (3, 70, 7.5)), "input_size: expected an integer .* got 7.5"),
        (lambda net: summary.torchsummary(net, (70, 70, 3)), r"\(70, 70, 3\) as \(C, H, W\): AlexNet: expected images"),
        (lambda net: summary.torchsummary(net, (3, 62, 63)), "at least 63x63 pixels"),
        (lambda net: summary.torchsummary(net, (3, 70, 70), 0), "batch_size: expected an integer of at least 1, got 0"),
        (lambda net: summary.keras(net, (227, 227)), r"expected images \(N, H, W, 3\)"),
        (lambda net: summary.keras(net, style="keras4"), "style: expected 'keras2' or 'keras3', got 'keras4'"),
        (lambda net: summary.costs(net, (1, 0, 70, 3)), "shape: expected an integer of at least 1, got 0"),
        (lambda net: summary.rows(net, ()), r"shape: expected \(N, H, W, C\), got \(\)"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(alexnet, call, message):
    with pytest.raises(ValueError, match=message):
        call(alexnet)


def test_what_is_no_network_is_refused():
    with pytest.raises(TypeError, match="expected a network or layer of alexnet_np, got str"):
        summary.rows("alexnet", (1, 70, 70, 3))


def test_algorithms_of_the_cpu_engine_depend_on_the_batch():
    net = models.alexnet(init="zeros")
    alone, many = (summary.algorithms(net, (n, 224, 224, 3)).splitlines()[1:] for n in (1, 128))
    assert [line.split()[0] for line in many] == [f"features.{n}" for n in (0, 3, 6, 8, 10)]
    assert all(line.endswith("im2col") for line in alone[2:])
    assert all(line.endswith("winograd") for line in many)
    assert "im2col" in summary.algorithms(net.to("reference"), (128, 224, 224, 3))
