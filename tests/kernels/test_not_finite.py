"""inf, NaN and numbers near float32's end: backends agree where they are, and with torch where torch has an answer."""

import numpy as np
import pytest
import torch
from against_torch import nchw, nhwc
from test_every_kernel import kernels

from alexnet_np import backend

reference = backend.get("reference").kernels
VALUES = (np.inf, -np.inf, np.nan, 3e38)
values = pytest.mark.parametrize("value", VALUES, ids=str)


def assert_same(found, expected, what, rtol=1e-3):
    """NaN where NaN is expected, the same infinities, and the same numbers."""
    assert (found is None) == (expected is None), what
    if expected is None:
        return
    assert found.shape == expected.shape, what
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), err_msg=f"{what}: NaN")
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(np.isinf(found), infinite, err_msg=f"{what}: infinity")
    np.testing.assert_array_equal(found[infinite], expected[infinite], err_msg=what)
    finite = np.isfinite(expected)
    np.testing.assert_allclose(found[finite], expected[finite], rtol, rtol, err_msg=what)


def with_value(array, value):
    array = array.copy()
    array.flat[array.size // 2] = value
    return array


@np.errstate(all="ignore")
@kernels()
def test_backends_agree(book, case):
    """One such number in each argument in turn, dy among them."""
    arrays = case.arrays("float32")
    y, _ = case.forward(reference, *arrays)
    dy = case.dy(y)
    for place in (*range(len(arrays)), "dy"):
        if (array := dy if place == "dy" else arrays[place]) is None or array.ndim == 0:
            continue
        if place == 2 and case.op.endswith("max_pool2d") and case.options["pool"] != (1, 1):
            continue  # with an infinite bias all pixels of a window are equal: who wins may depend on the order
        for value in VALUES:
            given, given_dy = [*arrays], dy
            if place == "dy":
                given_dy = with_value(dy, value)
            else:
                given[place] = with_value(array, value)
            results = case.run(book, given, given_dy), case.run(reference, given, given_dy)
            for name, found, expected in zip(("y", "dx", "dw", "db"), *results, strict=False):
                assert_same(found, expected, f"{value} in {place}: {name}")


def torch_results(function, *arrays):
    """y and the gradients of <dy, y> for a dy of ones, twos, ..."""
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    y = function(*tensors)
    dy = torch.arange(1.0, y.numel() + 1, dtype=y.dtype).reshape(y.shape)
    y.backward(dy)
    return dy.numpy(), y.detach().numpy(), *(tensor.grad.numpy() for tensor in tensors)


@np.errstate(all="ignore")
@values
def test_linear_and_activations_are_torchs(value):
    rng = np.random.default_rng(0)
    x, w, b = with_value(rng.standard_normal((3, 5)), value), rng.standard_normal((5, 4)), rng.standard_normal(4)
    dy, *expected = torch_results(lambda x, w, b: x @ w + b, x, w, b)
    y, saved = reference.linear_forward(x, w, b)
    for found, right in zip((y, *reference.linear_backward(dy, saved)), expected, strict=True):
        assert_same(found, right, "linear", 1e-12)
    for name, function in (("relu", torch.relu), ("softmax", lambda x: torch.softmax(x, 1))):
        dy, *expected = torch_results(function, x)
        y, saved = getattr(reference, f"{name}_forward")(x)
        for found, right in zip((y, getattr(reference, f"{name}_backward")(dy, saved)), expected, strict=True):
            assert_same(found, right, name, 1e-12)


@np.errstate(all="ignore")
@values
def test_adaptive_pooling_keeps_them_to_their_cells(value):
    x = with_value(np.random.default_rng(0).standard_normal((2, 5, 7, 2)), value)
    tensor = nchw(x).requires_grad_()
    expected = torch.nn.functional.adaptive_avg_pool2d(tensor, (3, 4))
    y, saved = reference.adaptive_avg_pool2d_forward(x, (3, 4))
    assert_same(y, nhwc(expected), "y", 1e-12)
    dy = with_value(np.random.default_rng(1).standard_normal(y.shape), value)
    expected.backward(nchw(dy))
    assert_same(reference.adaptive_avg_pool2d_backward(dy, saved), nhwc(tensor.grad), "dx", 1e-12)


@np.errstate(all="ignore")
@pytest.mark.parametrize("book", [reference, backend.get("cpu").kernels], ids=["reference", "cpu"])
@values
@pytest.mark.parametrize("layer", ["3x3 of 64 channels", "11x11 by 4"])
def test_a_convolution_keeps_them_to_the_windows_that_see_them(book, layer, value):
    """Also where Winograd's tiles would spread them: images enough for it to be chosen."""
    rng = np.random.default_rng(0)
    shape, kernel, stride, padding = (
        ((8, 13, 13, 64), 3, 1, 1) if layer.startswith("3x3") else ((8, 63, 63, 3), 11, 4, 2)
    )
    w = rng.standard_normal((kernel, kernel, shape[3], 32), dtype=np.float32)
    x = rng.standard_normal(shape, dtype=np.float32)
    assert backend.get("cpu").kernels.conv2d_algorithm(x.shape, w.shape, stride, padding) == "winograd"
    x[1, 6, 6, 2] = value
    y, _ = book.conv2d_forward(x, w, None, stride, padding)
    expected = torch.nn.functional.conv2d(
        nchw(x).double(), torch.tensor(w).double().permute(3, 2, 0, 1), None, stride, padding
    )
    expected = nhwc(expected).astype(np.float32)  # what is too large for float32 is infinite there
    assert_same(y, expected, "y")
    assert np.isfinite(y).mean() > 0.9


@np.errstate(all="ignore")
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("row", [
    [0, -np.inf, 1], [-np.inf, 0, 1], [np.inf, 0, 1], [np.nan, 0, 1], [3e38, 0, 1], [0, 3e38, -3e38], [0, -3e38, 1],
    [-np.inf, -np.inf, -np.inf],
], ids=str)  # fmt: skip
def test_the_loss_is_torchs(row, smoothing):
    """[[0, -inf, 1]] with label 0 costs 1.3133: a class that cannot be adds nothing."""
    logits = np.array([row, [0.3, -0.2, 0.1]])
    for dtype in ("float64", "float32"):
        if dtype == "float32" and smoothing and 3e38 in np.abs(row):
            continue  # whether their sum is beyond float32's end depends on its order
        tensor = torch.tensor(logits.astype(dtype), requires_grad=True)
        expected = torch.nn.functional.cross_entropy(tensor, torch.tensor([0, 2]), label_smoothing=smoothing)
        expected.backward()
        for book in (reference, backend.get("cpu").kernels):
            loss, saved = book.softmax_cross_entropy_forward(logits.astype(dtype), np.array([0, 2]), smoothing)
            tolerance = 1e-12 if dtype == "float64" else 1e-5
            assert_same(np.array(loss), expected.detach().numpy(), "loss", tolerance)
            assert_same(book.softmax_cross_entropy_backward(1.0, saved), tensor.grad.numpy(), "dlogits", tolerance)
