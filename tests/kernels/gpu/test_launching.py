"""The way from Python to a kernel: what is refused, and that threads may run in any order."""

from types import SimpleNamespace

import gpu_on_host
import numpy as np
import pytest
from cases import BOOKS, CASES, Case

from alexnet_np import backend

pytestmark = pytest.mark.skipif(gpu_on_host.problem() is not None, reason=str(gpu_on_host.problem()))

launcher = gpu_on_host.launcher


def zeros(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((zeros(6), zeros(6, dtype="float64")), TypeError, "relu_forward: y: expected dtype float32, got float64"),
        ((zeros(6), [0.0] * 6), TypeError, "relu_forward: y: expected an array of numpy, got list"),
        (
            (zeros(3, 4)[:, ::2], zeros(6)),
            ValueError,
            r"relu_forward: x: expected an array in C order, got strides \(16, 8\) for shape \(3, 2\)",
        ),
        ((zeros(6),), TypeError, "relu_forward: expected 3 arguments, got 2"),
    ],
    ids=["dtype", "no array", "order", "number"],
)
def test_wrong_arguments_are_refused_in_a_sentence(arguments, error, sentence):
    gpu_on_host.install()
    with pytest.raises(error, match=sentence):
        launcher.launch("relu_forward", arguments[0], 1, (1, 1), *arguments, 6)


def test_without_the_host_numpys_arrays_are_refused(monkeypatch):
    monkeypatch.setattr(launcher, "_host", None)
    x = zeros(2, 3, 3, 4)
    with pytest.raises(TypeError, match="max_pool2d_forward: expected arrays of cupy, got numpy's"):
        BOOKS["gpu, emulated"].max_pool2d_forward(x, 2)


class OnADevice(np.ndarray):
    """As much of CuPy's array as the launcher looks at."""

    device = None


def test_an_array_on_another_device_is_refused(monkeypatch):
    """With a NumPy array for a CuPy array: what the launcher asks is the same."""
    here = SimpleNamespace(ndarray=np.ndarray, cuda=SimpleNamespace(Device=lambda: SimpleNamespace(id=0)))
    monkeypatch.setattr(launcher, "array_module", lambda array: here)
    x = zeros(6).view(OnADevice)
    x.device = SimpleNamespace(id=1)
    with pytest.raises(ValueError, match="x: expected an array on the current device, 0, got one on 1"):
        launcher.launch("relu_forward", x, 1, (1, 1), x, x, 6)


def test_every_kernel_is_found_and_launched_by_somebody():
    """A kernel that nobody calls, or a name that is misspelt."""
    texts = "".join(path.read_text("utf-8") for path in launcher.FOLDER.glob("*.py"))
    for name in launcher.kernels():
        assert f'"{name}"' in texts, name
    for name in ("max_pool2d_forward", "im2col", "sgd_torch"):
        assert name in launcher.kernels()
    assert launcher.kernels()["sgd_torch"].parameters[:2] == (
        launcher.Parameter("Parameters", False, "parameters"),
        launcher.Parameter("real", True, "lr_at"),
    )


def own(case):
    book = BOOKS.get("gpu, emulated")  # none without a compiler: then all is skipped
    return book and getattr(book, f"{case.op}_forward").__module__.startswith("alexnet_np.kernels.gpu")


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if own(case)], ids=[n for n, c in CASES.items() if own(c)]
)
def test_the_order_of_threads_and_blocks_changes_no_bit(case: Case):
    """On a GPU there is none: where a barrier is missing, or two threads write one place, the results would differ."""
    book = BOOKS["gpu, emulated"]
    arrays = case.arrays("float32")
    forwards = case.run(book, arrays)
    gpu_on_host.HOST.reversed = True
    try:
        backwards = case.run(book, arrays)
    finally:
        gpu_on_host.HOST.reversed = False
    for a, b in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("first", [0, 1, 2, 4])
def test_arrays_may_begin_anywhere(first):
    """Not every place is one for 16 bytes at once. (A GPU, and the sanitizer, would refuse.)"""
    book, reference = BOOKS["gpu, emulated"], backend.get("reference").kernels
    memory = np.random.default_rng(0).standard_normal(2 * 5 * 6 * 8 + 4).astype("float32")
    x = memory[first : first + 2 * 5 * 6 * 8].reshape(2, 5, 6, 8)
    y, saved = book.max_pool2d_forward(x, 3, 2, 1)
    expected, expected_saved = reference.max_pool2d_forward(x, 3, 2, 1)
    np.testing.assert_array_equal(y, expected)
    dy = memory[first : first + y.size].reshape(y.shape)
    found, right = book.max_pool2d_backward(dy, saved), reference.max_pool2d_backward(dy, expected_saved)
    np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-6)


def test_grids_go_round_again():
    """More rows, and more in a row, than blocks: every element is still reached."""
    x = np.random.default_rng(0).standard_normal((40, 7, 700, 1)).astype("float32")
    geometry = (40, 7, 700, 1, 3, 350, 2, 2, 2, 2, 0, 0)
    y, won = np.zeros((40, 3, 350, 1), "float32"), np.zeros((40, 3, 350, 1), "uint8")
    gpu_on_host.install()
    launcher.launch("max_pool2d_forward", x, 1, (3, 1), x, y, won, *geometry)
    expected, _ = backend.get("reference").kernels.max_pool2d_forward(x, 2)
    np.testing.assert_array_equal(y, expected)


def test_only_the_emulation_has_little_room_for_columns(monkeypatch):
    """Where a GPU is, both are used in one process."""
    conv, seen = gpu_on_host.conv, []
    whole, parts = conv.WORKSPACE, conv._Windows.parts
    monkeypatch.setattr(conv._Windows, "parts", lambda *given: seen.append(conv.WORKSPACE) or parts(*given))
    case = CASES["conv2d: 3x3"]
    case.run(BOOKS["gpu, emulated"], case.arrays("float32"))
    assert seen == [gpu_on_host.WORKSPACE] * 2
    assert whole == conv.WORKSPACE == 24 << 20
