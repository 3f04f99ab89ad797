"""Keras's files: what one side writes the other reads; what is none, or a malicious one, meets a sentence."""

import sys
import zipfile

import h5py
import numpy as np
import pytest
from against_torch import relative_error
from keras_import import import_keras, keras_alexnet

from alexnet_np import layers, models, weights

keras = import_keras()

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

CLASSES = 3
IMAGES = np.random.default_rng(0).standard_normal((2, 227, 227, 3), dtype=np.float32)
FILES = ("a.weights.h5", "a.keras")


# ---- the whole network


@pytest.fixture(scope="module")
def theirs():
    """After another one: Keras has numbered its layers on (conv2d_5, ...), and its files do not say so."""
    keras_alexnet(CLASSES, "float32")
    return keras_alexnet(CLASSES, "float32")


@pytest.fixture(scope="module")
def ours(theirs):
    net = models.alexnet_keras(num_classes=CLASSES, init="zeros")
    weights.load_keras(net, theirs.get_weights())
    return net


@pytest.mark.parametrize("name", [*FILES, pytest.param("a.h5", marks=pytest.mark.filterwarnings("ignore"))])
def test_what_keras_saves_is_loaded(theirs, name, tmp_path):
    """A .h5 is Keras 2's: Keras 3 writes it with a warning."""
    theirs.save_weights(tmp_path / name) if name.endswith(".weights.h5") else theirs.save(tmp_path / name)
    net = models.alexnet_keras(num_classes=CLASSES, init="zeros")
    assert weights.load(net, tmp_path / name) == []
    assert all(map(np.array_equal, weights.to_keras(net), theirs.get_weights()))
    assert relative_error(net.forward(IMAGES, keep=False), theirs.predict(IMAGES, verbose=0)) <= 1e-4


@pytest.mark.parametrize("name", FILES)
def test_keras_loads_what_is_saved(ours, theirs, name, tmp_path):
    weights.save(ours, tmp_path / name)
    expected = theirs.get_weights()
    theirs.set_weights([np.zeros_like(array) for array in expected])
    theirs.load_weights(tmp_path / name)
    assert all(map(np.array_equal, theirs.get_weights(), expected))


def test_keras_opens_the_model_too(ours, theirs, tmp_path):
    weights.save(ours, tmp_path / "a.keras")
    net = keras.saving.load_model(tmp_path / "a.keras")
    assert relative_error(net.predict(IMAGES, verbose=0), ours.forward(IMAGES, keep=False)) <= 1e-4
    for layer, expected in zip(net.layers, theirs.layers, strict=True):
        for setting in ("strides", "padding", "activation", "rate", "units", "kernel_size", "pool_size"):
            assert layer.get_config().get(setting) == expected.get_config().get(setting)
    assert [layer.name for layer in net.layers][:3] == ["conv2d", "max_pooling2d", "conv2d_1"]


# ---- small ones


def small_net(num_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return models.Network(
        features=layers.Sequential(layers.Conv2d(3, 5, (3, 2), rng=rng), layers.Conv2d(5, 4, 1, bias=False, rng=rng)),
        flatten=layers.Flatten(),
        classifier=layers.Sequential(
            layers.Linear(4 * 4, 5, rng=rng), layers.Linear(5, 6, rng=rng), layers.Linear(6, num_classes, rng=rng)
        ),
    )


def snapshot(net):
    return [p.data.copy() for p in net.parameters()]


@pytest.fixture
def path(tmp_path):
    """A good file."""
    weights.save(small_net(), tmp_path / "a.weights.h5")
    return tmp_path / "a.weights.h5"


def test_layers_without_bias_and_any_numbers_of_layers(path):
    net = small_net(seed=1)
    weights.load(net, path)
    assert all(map(np.array_equal, snapshot(net), snapshot(small_net())))


def test_the_first_files_of_this_kind_had_another_name_for_the_layers(path):
    with h5py.File(path, "r+") as h5:
        h5.move("layers", "_layer_checkpoint_dependencies")
    net = small_net(seed=1)
    weights.load(net, path)
    assert all(map(np.array_equal, snapshot(net), snapshot(small_net())))


def external_link(h5):
    del h5["layers/dense/vars/1"]
    h5["layers/dense/vars/1"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(h5):
    h5.move("layers/dense/vars/1", "elsewhere")
    h5["layers/dense/vars/1"] = h5py.SoftLink("/elsewhere")


def external_layers(h5):
    del h5["layers"]
    h5["layers"] = h5py.ExternalLink("other.h5", "/layers")


def external_numbers(h5):
    """The dataset's numbers lie in a file of the victim's."""
    del h5["layers/dense/vars/1"]
    h5.create_dataset("layers/dense/vars/1", (5,), "f4", external=[("secret.bin", 0, 20)])


def virtual_numbers(h5):
    del h5["layers/dense/vars/1"]
    layout = h5py.VirtualLayout((5,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (5,))
    h5.create_virtual_dataset("layers/dense/vars/1", layout)


def bomb(h5):
    """A shape that the file need not have numbers for: they would be zeros."""
    del h5["layers/dense/vars/1"]
    h5.create_dataset("layers/dense/vars/1", (10**13,), "f4", chunks=(10**6,), compression="gzip")


def texts(h5):
    del h5["layers/dense/vars/1"]
    h5["layers/dense/vars/1"] = ["a", "b"]


def a_group_for_numbers(h5):
    del h5["layers/dense/vars/1"]
    h5.create_group("layers/dense/vars/1")


def numbers_for_a_group(h5):
    del h5["layers/dense"]
    h5["layers/dense"] = np.zeros(3)


def no_layers(h5):
    del h5["layers"]
    h5.create_group("layers")


def nothing(h5):
    del h5["layers"]


def names_that_are_none(h5):
    h5.attrs["layer_names"] = 7


def names_of_nothing(h5):
    h5.attrs["layer_names"] = ["nowhere"]


@pytest.mark.parametrize(
    "change",
    [
        external_link,
        soft_link,
        external_layers,
        external_numbers,
        virtual_numbers,
        bomb,
        texts,
        a_group_for_numbers,
        numbers_for_a_group,
        no_layers,
        nothing,
        names_that_are_none,
        names_of_nothing,
    ],
)
def test_files_that_are_not_what_they_say_change_nothing(path, change, monkeypatch):
    """other.h5 and secret.bin are what could be read by mistake: everything else in them fits."""
    monkeypatch.chdir(path.parent)
    (path.parent / "secret.bin").write_bytes(bytes(20))
    with h5py.File("other.h5", "w") as other, h5py.File(path) as h5:
        other["secret"] = np.zeros(5, np.float32)
        h5.copy("layers", other)
    with h5py.File(path, "r+") as h5:
        change(h5)
    net = small_net(seed=1)
    before = snapshot(net)
    with pytest.raises(ValueError, match=r"weights: .*a\.weights\.h5 cannot be read as Keras's HDF5 \("):
        weights.load(net, path)
    assert all(map(np.array_equal, snapshot(net), before))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_short_meets_a_sentence(path, keep):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match="cannot be read as Keras's HDF5"):
        weights.load(small_net(), path)


def test_an_archive_whose_member_is_compressed_or_cut_short_meets_a_sentence(path):
    archive = path.with_name("a.keras")
    whole = path.read_bytes()
    for data, compression, message in (
        (whole, zipfile.ZIP_DEFLATED, "is compressed or encrypted"),
        (whole[:500], zipfile.ZIP_STORED, "damaged: "),
        (b"", zipfile.ZIP_STORED, "damaged: "),
    ):
        with zipfile.ZipFile(archive, "w", compression) as file:
            file.writestr("model.weights.h5", data)
            file.writestr("config.json", '{"class_name": "Sequential", "config": {"layers": []}}', zipfile.ZIP_STORED)
        with pytest.raises(ValueError, match=rf"weights: .*a\.keras cannot be read as a Keras archive \(.*{message}"):
            weights.read(archive)


def test_other_shapes_and_numbers_of_layers_are_named(path):
    with pytest.raises(ValueError, match=r"classifier\.2\.weight: expected shape \(6, 7\), got \(6, 4\) \(another"):
        weights.load(small_net(num_classes=7), path)
    with h5py.File(path, "r+") as h5:
        del h5["layers/dense_2"]
    with pytest.raises(ValueError, match=r"weights: .*a\.weights\.h5: expected 9 arrays, got 7"):
        weights.load(small_net(), path)


def test_only_alexnet_keras_is_a_keras_model(tmp_path):
    with pytest.raises(ValueError, match=r"\.keras: expected alexnet_keras, a Keras model, got Network"):
        weights.save(small_net(), tmp_path / "a.keras")
    assert list(tmp_path.iterdir()) == []


def test_without_h5py_a_sentence_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r"Keras's files need h5py, .* \(pip install 'alexnet-np\[keras\]'\)"):
        weights.load(small_net(), path)
