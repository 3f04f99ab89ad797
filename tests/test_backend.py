"""Devices: which there are, what they say where they cannot be had, what moving to one does."""

import ast
import copy
import pickle
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alexnet_np import backend, layers, models

ROOT = Path(__file__).parents[1]


def small_net():
    return layers.Sequential(
        layers.Conv2d(2, 4, 3), layers.ReLU(), layers.Dropout(), layers.Flatten(), layers.Linear(3 * 4 * 4, 5)
    )


def test_cpu_is_the_default():
    for layer in (layers.ReLU(), layers.Linear(2, 3), small_net()):
        assert layer.backend is backend.get("cpu")
    assert backend.get("cpu").xp is backend.get("reference").xp is np


def test_every_book_offers_every_kernel():
    reference, cpu = (vars(backend.get(device).kernels) for device in ("reference", "cpu"))
    assert reference.keys() == cpu.keys()
    assert all(function.__module__.startswith("alexnet_np.kernels.reference") for function in reference.values())


def test_an_unknown_device_changes_nothing():
    net = small_net()
    for device in ("cuda", "GPU", None, 0):
        with pytest.raises(ValueError, match=f"device: expected one of reference, cpu, gpu, got {device!r}"):
            net.to(device)
    with pytest.raises(ValueError, match="dtype: expected one of float32, float64, complex128, got 'float16'"):
        net.to("reference", "float16")
    for _, layer in net.walk():
        assert layer.backend is backend.get("cpu")
    assert {p.data.dtype.name for p in net.parameters()} == {"float32"}


class NoDeviceError(RuntimeError):
    """Stands for cupy.cuda.runtime.CUDARuntimeError."""


def cupy_with(count):
    """As much of CuPy as is asked before anything runs on it."""
    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=NoDeviceError)
    return SimpleNamespace(__version__="14.0", cuda=SimpleNamespace(runtime=runtime))


def raising(error):
    def function(*args):
        raise error

    return function


@pytest.mark.parametrize(
    ("spec", "importer", "sentence"),
    [
        (
            None,
            raising(AssertionError("not installed")),
            "device gpu: CuPy is not installed (pip install 'alexnet-np[gpu13]', or [gpu12] for CUDA 12)",
        ),
        (
            True,
            raising(ImportError("libcuda.so.1: no such file")),
            "device gpu: CuPy is installed but cannot be imported (libcuda.so.1: no such file)",
        ),
        (
            True,
            lambda name: cupy_with(raising(NoDeviceError("cudaErrorNoDevice"))),
            "device gpu: CuPy 14.0 finds no CUDA device (cudaErrorNoDevice)",
        ),
        (True, lambda name: cupy_with(lambda: 0), "device gpu: CuPy 14.0 finds no CUDA device"),
    ],
    ids=["not installed", "not importable", "no driver", "no device"],
)
def test_a_missing_gpu_is_told_in_one_sentence(monkeypatch, spec, importer, sentence):
    net = small_net()
    monkeypatch.setattr(backend, "_get", backend._get.__wrapped__)  # as if nobody had asked before
    monkeypatch.setattr(backend, "find_spec", lambda name: spec)
    monkeypatch.setattr(backend, "import_module", importer)
    with pytest.raises(backend.DeviceError) as caught:
        net.to("gpu")
    assert str(caught.value) == sentence
    assert all(p.backend.device == "cpu" for p in net.parameters())


@pytest.mark.skipif(find_spec("cupy") is None, reason="CuPy is not installed; a job of CI has it")
def test_cupy_itself_tells_of_a_missing_gpu():
    if backend.gpu_problem() is None:
        pytest.skip("there is a CUDA device")
    with pytest.raises(backend.DeviceError, match=r"^device gpu: CuPy [\d.]+ finds no CUDA device( \(.*\))?$"):
        small_net().to("gpu")


def test_there_is_one_backend_for_each_device_and_algorithm():
    net = small_net().to("cpu", algorithm="im2col")
    assert net.backend is backend.get("cpu", "im2col")
    assert net.backend is not backend.get("cpu")
    assert net.to("cpu").backend is backend.get("cpu") is backend.get("cpu", "auto")
    assert copy.deepcopy(net).backend is net.backend
    assert pickle.loads(pickle.dumps(net)).backend is net.backend


def test_moving_takes_parameters_along_and_drops_the_rest():
    """Values and the network's identity stay; gradients and what forward saved go."""
    net = small_net()
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 2), dtype=np.float32)
    y = net.forward(x)
    net.backward(np.ones_like(y))
    net.forward(x)
    values = [p.data.copy() for p in net.parameters()]

    assert net.to("reference", "float64") is net
    assert not net.has_saved
    for p, value in zip(net.parameters(), values, strict=True):
        assert p.grad is None
        assert p.data.dtype == np.float64
        assert p.backend is backend.get("reference")
        np.testing.assert_array_equal(p.data, value)
    np.testing.assert_allclose(net.forward(x.astype(np.float64)), y, rtol=1e-4, atol=1e-6)

    net.to("cpu")  # the dtype stays where none is given
    assert {p.data.dtype.name for p in net.parameters()} == {"float64"}
    np.testing.assert_array_equal(net.to("cpu", np.float32).forward(x), y)


def test_complex_weights_come_back_as_they_were():
    """The way that complex-step gradient checks go."""
    net = small_net()
    values = [p.data.copy() for p in net.parameters()]
    net.to("reference", "complex128").to("cpu", "float32")
    for p, value in zip(net.parameters(), values, strict=True):
        np.testing.assert_array_equal(p.data, value)


def test_dropout_goes_on_with_its_masks():
    stays, moves = (layers.Dropout(rng=np.random.default_rng(1)) for _ in range(2))
    x = np.ones((3, 40), np.float32)
    for layer in (stays, moves):
        layer.forward(x, training=True)
    moves.to("reference").to("cpu")
    np.testing.assert_array_equal(moves.forward(x, training=True), stays.forward(x, training=True))


def test_arrays_say_where_they_belong():
    assert backend.of(np.zeros(3)) is backend.get("cpu")
    assert backend.of(np.float32(1)) is backend.get("cpu")
    with pytest.raises(TypeError, match="images: expected a NumPy or CuPy array, got list"):
        backend.of([1.0], "images")


def test_asarray_copies_only_where_it_must():
    cpu, array = backend.get("cpu"), np.zeros((3, 4), np.float32)
    assert cpu.asarray(array) is array
    assert cpu.asarray(array, "float32") is array
    assert cpu.asarray(array.T).flags.c_contiguous
    assert cpu.asarray(array, "float64").dtype == np.float64


def test_networks_are_told_their_device():
    net = models.Network(flatten=layers.Flatten(), dense=layers.Linear(4, 2))
    assert net.device == "cpu"
    assert net.to("reference").device == "reference"


# ---- who may import what


def imported_by(path, package):
    """The absolute names of all modules that a file imports, by statement or by import_module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "import_module":
            yield "".join(str(part.value) for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))


def imports(tree, package):
    return {
        path.relative_to(ROOT).as_posix(): set(
            imported_by(path, ".".join([package, *path.relative_to(tree).parts[:-1]]))
        )
        for path in tree.rglob("*.py")
    }


def test_only_the_backend_imports_kernels():
    found = imports(ROOT / "alexnet_np", "alexnet_np")
    users = {path for path, names in found.items() if any(name.startswith("alexnet_np.kernels") for name in names)}
    assert users == {"alexnet_np/backend.py"}


def test_kernels_import_nothing_from_above():
    for path, names in imports(ROOT / "kernels", "alexnet_np.kernels").items():
        above = {n for n in names if n.partition(".")[0] == "alexnet_np" and not n.startswith("alexnet_np.kernels")}
        assert not above, path
