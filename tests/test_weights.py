"""Weights in and out: layouts, names, files; and nothing half-written when something fails.

test_torchvision.py and test_keras.py hold the same ways against those two libraries.
"""

import os
import re

import numpy as np
import pytest
import safetensors.numpy
import torch

from alexnet_np import layers, models, weights


def small_net(num_classes=4, seed=0):
    """Convolution, flatten, two linear layers: every case of the layouts."""
    rng = np.random.default_rng(seed)
    return models.Network(
        features=layers.Sequential(layers.Conv2d(2, 3, (3, 2), rng=rng), layers.AdaptiveAvgPool2d(2)),
        flatten=layers.Flatten(),
        classifier=layers.Sequential(layers.Linear(2 * 2 * 3, 5, rng=rng), layers.Linear(5, num_classes, rng=rng)),
    )


NAMES = [f"{layer}.{kind}" for layer in ("features.0", "classifier.0", "classifier.1") for kind in ("weight", "bias")]


def snapshot(net):
    return {p.name: p.data.copy() for p in net.parameters()}


def assert_equal(net, expected):
    for p in net.parameters():
        np.testing.assert_array_equal(p.data, expected[p.name])


@pytest.fixture
def net():
    return small_net()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


# ---- layouts


def test_torchs_layouts_entry_by_entry(net):
    """Convolutions OIHW, linear weights (out, in), and the first of them with inputs in order C, H, W."""
    state = net.torch_state_dict()
    assert list(state) == NAMES
    own = snapshot(net)
    assert state["features.0.weight"].shape == (3, 2, 3, 2)
    for u, v, c, o in np.ndindex(3, 2, 2, 3):
        assert state["features.0.weight"][o, c, u, v] == own["features.0.weight"][u, v, c, o]
    for h, w, c, o in np.ndindex(2, 2, 3, 5):
        here, in_torch = (h * 2 + w) * 3 + c, (c * 2 + h) * 2 + w
        assert state["classifier.0.weight"][o, in_torch] == own["classifier.0.weight"][here, o]
    np.testing.assert_array_equal(state["classifier.1.weight"], own["classifier.1.weight"].T)
    for name in NAMES[1::2]:
        np.testing.assert_array_equal(state[name], own[name])


def test_every_way_out_leads_back_in(net, path):
    other, expected = small_net(seed=1), snapshot(net)
    weights.save(net, path)
    for load in (
        lambda: other.load_state_dict(net.state_dict()),
        lambda: other.load_torch_state_dict(net.torch_state_dict()),
        lambda: weights.load_keras(other, weights.to_keras(net)),
        lambda: weights.load(other, path),
        lambda: weights.load(other, str(path)),
    ):
        for p in other.parameters():
            p.data[...] = -1
        arrays = [p.data for p in other.parameters()]
        load()
        assert_equal(other, expected)
        assert all(p.data is array for p, array in zip(other.parameters(), arrays, strict=True))  # in place


def test_loading_takes_values_and_no_memory(net):
    """A network that learns must not write into the state dict that it came from."""
    state = {name: array.copy() for name, array in net.torch_state_dict().items()}
    net.load_torch_state_dict(state)
    for p in net.parameters():
        p.data += 1
    assert_equal(small_net(), small_net().state_dict())
    other = small_net(seed=1)
    other.load_torch_state_dict(state)
    assert_equal(other, snapshot(small_net()))


def test_tensors_are_taken_and_the_networks_dtype_stays(net):
    state = {name: torch.from_numpy(array.astype(np.float64)) for name, array in net.torch_state_dict().items()}
    other = small_net(seed=1)
    other.load_torch_state_dict(state)
    assert_equal(other, snapshot(net))
    assert {p.data.dtype.name for p in other.parameters()} == {"float32"}


def test_networks_without_images_have_weights_too(path):
    mlp = layers.Sequential(layers.Linear(3, 4), layers.ReLU(), layers.Linear(4, 2))
    weights.save(mlp, path)
    other = layers.Sequential(layers.Linear(3, 4), layers.ReLU(), layers.Linear(4, 2))
    weights.load(other, path)
    assert_equal(other, snapshot(mlp))


def test_the_file_is_torchvisions(net, path):
    weights.save(net, path)
    state = safetensors.numpy.load_file(path)
    assert sorted(state) == sorted(NAMES)
    for name, array in net.torch_state_dict().items():
        np.testing.assert_array_equal(state[name], array)
        assert state[name].dtype == np.float32


# ---- nothing half-written


@pytest.mark.parametrize("way", ["own", "torch"])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: {**s, "fc.bias": s["classifier.1.bias"]}, KeyError, "state dict: unknown fc.bias"),
        (lambda s: dict(list(s.items())[:-1]), KeyError, "state dict: missing classifier.1.bias"),
        (
            lambda s: {name.replace("classifier.1.bias", "fc.bias"): array for name, array in s.items()},
            KeyError,
            "state dict: missing classifier.1.bias; unknown fc.bias",
        ),
        (
            lambda s: {**s, "classifier.1.bias": np.zeros(7, np.float32)},
            ValueError,
            "state dict: classifier.1.bias: expected shape (4,), got (7,) (another num_classes?)",
        ),
        (
            lambda s: {**s, "features.0.weight": np.zeros((3, 3))},
            ValueError,
            "state dict: features.0.weight: expected shape ",
        ),
        (
            lambda s: {**s, "classifier.1.bias": np.array(["a", "b", "c", "d"])},
            ValueError,
            "state dict: classifier.1.bias: expected an array of numbers (",
        ),
        (
            lambda s: {**s, "classifier.1.bias": np.array([1, 2, 3, {}])},
            ValueError,
            "state dict: classifier.1.bias: expected an array of numbers (",
        ),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(net, way, change, error, message):
    """The last parameter is the wrong one, so that a loader that copies as it goes has copied the others."""
    other = small_net(seed=1)
    before = snapshot(other)
    state, load = {
        "own": (net.state_dict(), other.load_state_dict),
        "torch": (net.torch_state_dict(), other.load_torch_state_dict),
    }[way]
    with pytest.raises(error) as caught:
        load(change(dict(state)))
    assert str(caught.value.args[0]).startswith(message)
    assert_equal(other, before)


@pytest.mark.parametrize("way", ["own", "torch"])
def test_another_number_of_classes_is_named(way):
    net, other = small_net(num_classes=7), small_net(seed=1)
    before = snapshot(other)
    with pytest.raises(ValueError, match=r"classifier\.1\.weight: expected shape .*, got .* \(another num_classes\?\)"):
        other.load_state_dict(net.state_dict()) if way == "own" else other.load_torch_state_dict(net.torch_state_dict())
    assert_equal(other, before)


@pytest.mark.parametrize("way", ["own", "torch", "keras", "file"])
def test_fine_tuning_keeps_the_last_layer_and_loads_the_rest(way, path):
    net, other = small_net(num_classes=7), small_net(seed=1)
    new = {name: array for name, array in snapshot(other).items() if name.startswith("classifier.1.")}
    weights.save(net, path)
    kept = {
        "own": lambda: weights.load_state(other, net.state_dict(), strict=False),
        "torch": lambda: weights.load_torch(other, net.torch_state_dict(), strict=False),
        "keras": lambda: weights.load_keras(other, weights.to_keras(net), strict=False),
        "file": lambda: weights.load(other, path, strict=False),
    }[way]()
    assert kept == ["classifier.1.weight", "classifier.1.bias"]
    assert_equal(other, snapshot(net) | new)


def test_fine_tuning_loads_everything_where_everything_fits(net, path):
    weights.save(net, path)
    other = small_net(seed=1)
    assert weights.load(other, path, strict=False) == []
    assert_equal(other, snapshot(net))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("classifier.1.weight", (7, 6)),  # another number of inputs
        ("classifier.0.weight", (6, 12)),
        ("classifier.0.bias", (6,)),
        ("classifier.1.bias", (4, 1)),
        ("classifier.1.bias", ()),
        ("features.0.bias", (4,)),
    ],
)
def test_fine_tuning_takes_no_other_shapes(net, name, shape):
    before = snapshot(net)
    state = {**small_net(seed=1).torch_state_dict(), name: np.zeros(shape, np.float32)}
    with pytest.raises(ValueError, match=rf"state dict: {re.escape(name)}: expected shape"):
        weights.load_torch(net, state, strict=False)
    with pytest.raises(KeyError, match="missing"):
        weights.load_torch(net, {"classifier.1.bias": np.zeros(4)}, strict=False)
    assert_equal(net, before)


def test_a_name_that_says_no_kind_of_file_meets_a_sentence(net, tmp_path):
    expected = r"weights: expected a name that ends in \.safetensors, \.weights\.h5, \.keras, got "
    for name in ("net.pth", "net.h5", "safetensors", "net.safetensors.old"):
        with pytest.raises(ValueError, match=expected + re.escape(name)):
            weights.save(net, tmp_path / name)
    with pytest.raises(ValueError, match=r"got net\.onnx \(weights\.export_onnx writes ONNX\)"):
        weights.save(net, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_kerass_list_is_checked_before_anything_changes(net):
    other = small_net(seed=1)
    before = snapshot(other)
    with pytest.raises(ValueError, match="weights: expected 6 arrays, got 5"):
        weights.load_keras(other, weights.to_keras(net)[:-1])
    with pytest.raises(ValueError, match=r"classifier\.1\.bias: expected shape \(4,\), got \(5,\)"):
        weights.load_keras(other, [*weights.to_keras(net)[:-1], np.zeros(5)])
    assert_equal(other, before)


def test_a_file_that_is_cut_short_changes_nothing(net, path):
    weights.save(small_net(seed=1), path)
    whole, before = path.read_bytes(), snapshot(net)
    for length in (0, 4, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        message = (
            r"cannot be read as safetensors \(" if length > 8 else "is not a file of weights: expected safetensors, "
        )
        with pytest.raises(ValueError, match=rf"weights: .*net\.safetensors {message}"):
            weights.load(net, path)
    assert_equal(net, before)


def test_a_file_of_something_else_changes_nothing(net, path, tmp_path):
    before = snapshot(net)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="is not a file of weights"):
        weights.load(net, path)
    safetensors.numpy.save_file({"conv.weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(KeyError, match=r"missing classifier\.0\.bias, .*; unknown conv\.weight"):
        weights.load(net, path)
    for missing in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match="weights: there is no file"):
            weights.load(net, missing)
    assert_equal(net, before)


@pytest.mark.parametrize("existing", [True, False])
def test_a_save_that_fails_leaves_the_folder_as_it_was(net, path, monkeypatch, existing):
    """At the last step, and half-way through the writing."""
    if existing:
        weights.save(small_net(seed=1), path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def full_disk(*args, **kwargs):
        raise OSError("no space left on device")

    def half_written(path, arrays, metadata):
        path.write_bytes(b"half")
        full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full_disk)
        with pytest.raises(OSError, match="no space left"):
            weights.save(net, path)
    with monkeypatch.context() as patch:
        patch.setattr(weights.safetensors_files, "write", half_written)
        with pytest.raises(OSError, match="no space left"):
            weights.save(net, path)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_save_replaces_the_file(net, path):
    weights.save(small_net(seed=1), path)
    weights.save(net, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    other = small_net(seed=2)
    weights.load(other, path)
    assert_equal(other, snapshot(net))


def test_tensors_that_numpy_cannot_read_are_named(net):
    state = {name: torch.from_numpy(array.copy()) for name, array in net.torch_state_dict().items()}
    for values in (state["classifier.1.bias"].bfloat16(), state["classifier.1.bias"].requires_grad_()):
        with pytest.raises(ValueError, match=r"state dict: classifier\.1\.bias: expected an array of numbers \("):
            net.load_torch_state_dict({**state, "classifier.1.bias": values})


def test_a_folder_that_is_missing_meets_a_sentence(net, tmp_path):
    with pytest.raises(OSError, match=r"weights: .*net\.safetensors cannot be written \("):
        weights.save(net, tmp_path / "nowhere" / "net.safetensors")


def test_an_image_that_is_not_square_meets_a_sentence(path):
    """What a Flatten saw cannot be told from the weights alone: torchvision's order needs it."""
    net = layers.Sequential(layers.Conv2d(3, 4, 3), layers.Flatten(), layers.Linear(2 * 3 * 4, 5))
    with pytest.raises(ValueError, match=r"weights: 2\.weight: expected a square image of 4 channels, got 24 inputs"):
        weights.save(net, path)
    assert not path.exists()
