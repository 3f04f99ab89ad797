"""A device's float32 kernels against the reference in float64: faults are found, and no right kernel is accused."""

import sys

import numpy as np
import pretended_gpu
import pytest

from alexnet_np import backend, gradcheck, layers
from alexnet_np.cli import main
from alexnet_np.gradcheck import float32, ops

METHOD = "float32 vs reference"


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(0)
    return [*ops._layers(rng), *float32.large_layers(rng)]


@pytest.fixture
def few_layers(monkeypatch):
    """A report that takes a second."""
    few = [
        (layers.Conv2d(2, 3, 3, padding=1), (2, 5, 6, 2)),
        (layers.ReLU(), (2, 3, 4, 3)),
        (layers.Linear(5, 3), (4, 5)),
        (layers.Dropout(0.3), (5, 6)),
    ]
    monkeypatch.setattr(ops, "_layers", lambda rng: few)
    monkeypatch.setattr(float32, "large_layers", lambda rng: [])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cpu_kernels_are_right_with_room_to_spare(seed):
    rows = list(ops._rows_in_float32("cpu", seed))
    assert all(row.verdict == "right" and row.error < row.tolerance / 2 for row in rows)
    assert {row.method for row in rows} == {METHOD}
    assert {row.op for row in rows} >= {"Conv2d", "Conv2d, winograd", "Conv2d, im2col", "softmax_cross_entropy"}


def test_the_cases_take_every_path(cases):
    """Winograd by choice and where it is asked for, and im2col."""
    algorithm = backend.get("cpu").kernels.conv2d_algorithm
    chosen = {
        algorithm(shape, layer.weight.data.shape, layer.stride, layer.padding, layer.groups)
        for layer, shape in cases
        if isinstance(layer, layers.Conv2d)
    }
    assert chosen == {"winograd", "im2col"}


def last_row_missing(function):
    def kernel(*args, **kwargs):
        y, saved = function(*args, **kwargs)
        y = y.copy()
        y[:, -1] = 0
        return y, saved

    return kernel


def changed_gradient(change, which):
    def wrap(function):
        def kernel(*args, **kwargs):
            found = function(*args, **kwargs)
            if not isinstance(found, tuple):
                return change(found.copy())
            return tuple(change(g.copy()) if i == which and g is not None else g for i, g in enumerate(found))

        return kernel

    return wrap


def one_entry(array):
    array.flat[array.size // 2] += np.float32(0.01)
    return array


FAULTS = [
    ("conv2d_forward", last_row_missing, "y"),
    ("conv2d_backward", changed_gradient(one_entry, 0), "x"),
    ("conv2d_backward", changed_gradient(lambda g: g * np.float32(1.001), 1), "weight"),
    ("conv2d_backward", changed_gradient(lambda g: g[::-1], 2), "bias"),
    ("linear_backward", changed_gradient(one_entry, 0), "x"),
    ("relu_backward", changed_gradient(lambda g: g * np.float32(1.0001), 0), "x"),
    ("max_pool2d_backward", changed_gradient(one_entry, 0), "x"),
    ("softmax_backward", changed_gradient(lambda g: -g, 0), "x"),
    ("local_response_norm_backward", changed_gradient(one_entry, 0), "x"),
    ("adaptive_avg_pool2d_backward", changed_gradient(one_entry, 0), "x"),
    ("dropout_backward", changed_gradient(lambda g: g / 2, 0), "x"),
    ("conv2d_backward", changed_gradient(lambda g: g * np.float32("nan"), 0), "x"),
    ("conv2d_backward", changed_gradient(lambda g: g.astype("float64"), 0), "x"),
    ("conv2d_backward", changed_gradient(lambda g: g[:, :-1], 0), "x"),
]


@pytest.mark.parametrize(("name", "wrap", "tensor"), FAULTS)
def test_a_fault_in_a_cpu_kernel_is_found(monkeypatch, cases, name, wrap, tensor):
    """Slopes do not see it: in float64 the kernel falls back to the reference."""
    kernels = backend.get("cpu").kernels
    monkeypatch.setattr(kernels, name, wrap(getattr(kernels, name)))
    kind = name.rpartition("_")[0]
    named = {"conv2d": "Conv2d", "relu": "ReLU", "max_pool2d": "MaxPool2d", "linear": "Linear", "dropout": "Dropout"}
    named |= {"adaptive_avg_pool2d": "AdaptiveAvgPool2d", "local_response_norm": "LocalResponseNorm"}
    wrong = []
    for layer, shape in cases:
        if type(layer).__name__ == named.get(kind, "Softmax"):
            rows = float32.compare(layer, shape, "cpu", training=kind == "dropout")
            wrong += [row.tensor for row in rows if row.verdict == "wrong"]
    assert tensor in wrong


def test_the_command_fails_for_a_wrong_cpu_kernel(monkeypatch, capsys, few_layers):
    assert main(["gradcheck", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "float64 (reference kernels, as cpu has none): gradients against slopes of forward: " in out
    assert "float32 (cpu): kernels against the reference in float64: " in out
    assert out.endswith("all gradients are right\n")
    assert "float32" not in _out_of(capsys, ["gradcheck"], 0)  # the reference is what the others are compared with

    def wrong(dy, saved):
        dx = relu_backward(dy, saved)
        return -dx if dx.dtype == np.float32 else dx

    kernels = backend.get("cpu").kernels
    relu_backward = kernels.relu_backward
    monkeypatch.setattr(kernels, "relu_backward", wrong)
    out = _out_of(capsys, ["gradcheck", "--device", "cpu"], 1)
    assert out.endswith("NOT ALL GRADIENTS ARE RIGHT\n")
    [line] = [line for line in out.splitlines() if line.endswith("wrong")]
    assert line.startswith("ReLU")
    assert METHOD in line


def _out_of(capsys, argv, code):
    assert main(argv) == code
    return capsys.readouterr().out


def test_json_says_what_was_computed_in_which_dtype(capsys, few_layers):
    import json

    rows = json.loads(_out_of(capsys, ["gradcheck", "--device", "cpu", "--json"], 0))
    assert {(row["method"] == METHOD, row["dtype"]) for row in rows} == {(True, "float32"), (False, "float64")}


def test_help_says_so(capsys):
    with pytest.raises(SystemExit):
        main(["gradcheck", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "the device's own float32 kernels are also compared with the reference in float64" in text


@pytest.mark.skipif(sys.platform != "linux", reason="the pretended GPU runs on Linux")
def test_a_gpu_is_compared_too(monkeypatch, few_layers):
    pretended_gpu.pretend(monkeypatch)
    result = gradcheck.report("gpu")
    assert result.ok, str(result)
    assert {row.op for row in result if row.dtype == "float32"} >= {"Conv2d", "ReLU", "Linear", "Dropout"}
    kernels = backend.get("gpu").kernels
    relu_backward = kernels.relu_backward
    monkeypatch.setattr(kernels, "relu_backward", lambda dy, saved: relu_backward(dy, saved) * dy.dtype.type(1.001))
    wrong = {(row.op, row.dtype) for row in gradcheck.report("gpu") if row.verdict == "wrong"}
    assert wrong >= {("ReLU", "float32"), ("ReLU", "float64")}
