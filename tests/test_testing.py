"""alexnet_np.testing: what the strategies draw, and what the assertions let through and what not."""

import subprocess
import sys
from functools import partial
from itertools import count

import numpy as np
import pytest
import torch
from hypothesis import find, given

from alexnet_np import layers, testing

conv_geometries = testing.conv_geometries()
pool_geometries = testing.pool_geometries()


# ---- strategies


@given(geometry=conv_geometries)
def test_conv_geometries_fit(geometry):
    """The result has the size that torch gives it."""
    N, H, W, C = geometry.x_shape
    (top, bottom), (left, right) = geometry.padding
    KH, KW, C_of_group, O = geometry.w_shape
    assert C_of_group * geometry.groups == C
    assert O % geometry.groups == 0
    x = torch.nn.functional.pad(torch.zeros(N, C, H, W), (left, right, top, bottom))
    y = torch.nn.functional.conv2d(x, torch.zeros(O, C_of_group, KH, KW), None, geometry.stride, 0, 1, geometry.groups)
    assert tuple(y.permute(0, 2, 3, 1).shape) == geometry.y_shape


@given(geometry=pool_geometries)
def test_pool_geometries_fit(geometry):
    """The layer takes them, and torch those that it can express."""
    layer = layers.MaxPool2d(geometry.kernel_size, geometry.stride, geometry.padding, geometry.ceil_mode)
    assert layer.output_shape(geometry.x_shape) == geometry.y_shape
    if all(before == after for before, after in geometry.padding):
        N, H, W, C = geometry.x_shape
        padding = [before for before, _ in geometry.padding]
        x = torch.zeros(N, C, H, W)
        y = torch.nn.functional.max_pool2d(x, geometry.kernel_size, geometry.stride, padding, 1, geometry.ceil_mode)
        assert tuple(y.permute(0, 2, 3, 1).shape) == geometry.y_shape


def left_over(geometry, kernel):
    """Pixels behind the last window of each axis; negative where it hangs over the end."""
    axes = zip(geometry.x_shape[1:3], geometry.y_shape[1:3], kernel, geometry.stride, geometry.padding, strict=True)
    return [size + sum(ends) - (windows - 1) * stride - window for size, windows, window, stride, ends in axes]


@pytest.mark.parametrize(
    "awkward",
    [
        lambda g: g.x_shape[1] != g.x_shape[2] and g.w_shape[0] != g.w_shape[1],
        lambda g: g.padding[0][0] != g.padding[0][1] and g.padding[0] != g.padding[1],
        lambda g: max(left_over(g, g.w_shape[:2])) > 0,
        lambda g: g.groups > 1 and g.w_shape[2] > 1 and g.y_shape[1] > 1,
        lambda g: max(g.padding[0]) > g.w_shape[0],
        lambda g: g.stride[0] > g.w_shape[0],
        lambda g: g.x_shape[1:3] == (1, 1) and g.y_shape[1] > 1,
    ],
)
def test_conv_geometries_hold_what_breaks_things(awkward):
    find(conv_geometries, awkward)


@pytest.mark.parametrize(
    "awkward",
    [
        lambda g: g.ceil_mode and min(left_over(g, g.kernel_size)) < 0,
        lambda g: not g.ceil_mode and max(left_over(g, g.kernel_size)) > 0,
        lambda g: g.stride[0] < g.kernel_size[0] and g.y_shape[1] > 2,
        lambda g: g.padding[0][0] != g.padding[0][1],
    ],
)
def test_pool_geometries_hold_what_breaks_things(awkward):
    find(pool_geometries, awkward)


@given(geometry=testing.conv_geometries(channels=32, max_kernel=1, max_stride=1, max_padding=0, max_groups=1))
def test_conv_geometries_can_be_confined(geometry):
    assert geometry.groups == 1
    assert geometry.w_shape[2] % 32 == geometry.y_shape[3] % 32 == 0
    assert geometry.w_shape[:2] == geometry.stride == (1, 1)
    assert geometry.padding == ((0, 0), (0, 0))


@given(x=testing.arrays((2, 3), "float32"), flat=testing.kink_free_arrays((4, 5)))
def test_arrays(x, flat):
    assert (x.shape, x.dtype) == ((2, 3), np.float32)
    assert len(np.unique(np.abs(flat))) >= 10
    assert np.abs(flat).min() >= 2 / 20
    assert np.diff(np.sort(flat, axis=None)).min() > 0.19


# ---- assertions


def test_adjoint():
    rng = np.random.default_rng(0)
    matrix, x, c = rng.standard_normal((4, 3)), rng.standard_normal(3), rng.standard_normal(4)
    testing.assert_adjoint(lambda x: matrix @ x, lambda c: c @ matrix, x, c)
    with pytest.raises(AssertionError, match=r"<function\(x\), c> = .*, but <x, adjoint\(c\)> = "):
        testing.assert_adjoint(lambda x: matrix @ x, lambda c: 1.001 * c @ matrix, x, c)
    with pytest.raises(AssertionError, match=r"function\(x\): expected the shape of c, \(4,\), got \(3,\)"):
        testing.assert_adjoint(lambda x: x, lambda c: c, x, c)


LAYERS = [
    (layers.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2), (2, 7, 8, 4)),
    (layers.MaxPool2d(3, stride=2, padding=1), (2, 7, 8, 4)),
    (layers.AdaptiveAvgPool2d((3, 2)), (2, 7, 8, 4)),
    (layers.LocalResponseNorm(3, alpha=0.5, groups=2), (2, 7, 8, 4)),
    (layers.ReLU(), (3, 5)),
    (layers.Softmax(), (3, 5)),
    (layers.Dropout(0.3), (3, 5)),
    (layers.Flatten(), (2, 3, 4, 5)),
    (layers.Linear(5, 3), (4, 5)),
    (layers.Sequential(layers.Linear(5, 4), layers.ReLU(inplace=True), layers.Linear(4, 3, bias=False)), (4, 5)),
]


@pytest.mark.parametrize(("device", "dtype"), [("reference", "float64"), ("cpu", "float32"), ("cpu", "float64")])
@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: getattr(value, "label", None))
def test_the_layers_keep_the_laws(layer, shape, device, dtype):
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    layer.to(device, dtype)
    for training in (False, True):
        testing.assert_layer_laws(layer, x, training)


class Half:
    """y = x / 2, with room for mistakes."""

    def forward(self, x):
        return x * x.dtype.type(0.5)

    def backward(self, dy):
        return dy * dy.dtype.type(0.5)


class Product:
    """Two inputs: y = x0 x1, where x1 has one column."""

    def forward(self, x0, x1):
        self.saved = x0, x1
        return x0 * x1

    def backward(self, dy):
        x0, x1 = self.saved
        return dy * x1, (dy * x0).sum(axis=1, keepdims=True)


def test_laws_hold_for_other_peoples_layers():
    testing.assert_layer_laws(Half(), np.ones((2, 3), np.float32))
    testing.assert_layer_laws(Product(), (np.ones((2, 3)), np.ones((2, 1))))


@pytest.mark.parametrize(
    ("method", "mistake", "message"),
    [
        ("forward", lambda x: x * np.float64(0.5), "y: expected float32, got float64"),
        ("backward", lambda dy: dy * np.float64(0.5), "x: expected float32, got float64"),
        ("forward", lambda x: np.multiply(x, 2, out=x), "read-only"),
        ("backward", lambda dy: np.multiply(dy, 2, out=dy), "read-only"),
        ("forward", lambda x: np.full_like(x, np.inf), "y: expected finite numbers, got NaN or infinity"),
        ("backward", lambda dy: dy.T, r"x: expected shape \(2, 3\), got \(3, 2\)"),
        ("backward", lambda dy: None, "x: expected a gradient, got None"),
        ("backward", lambda dy: (dy, dy), "x: expected backward to return the gradient of x: one array, got 2"),
        ("backward", partial(lambda n, dy: dy * dy.dtype.type(next(n)), count()), "expected the same a second time"),
        ("backward", lambda dy: dy**2, "expected a backward that is linear in dy"),
        ("backward", lambda dy: dy + 1, "expected a backward that is linear in dy"),
        ("forward", lambda x: x.ravel("K").reshape(x.shape).copy(), "expected the same for arrays with gaps"),
    ],
)
def test_laws_that_are_broken(method, mistake, message):
    layer = Half()
    setattr(layer, method, mistake)
    with pytest.raises((AssertionError, ValueError), match=message):
        testing.assert_layer_laws(layer, np.arange(6, dtype=np.float32).reshape(2, 3))


def test_without_hypothesis_one_sentence():
    """And nothing else of the package needs it."""
    code = """
import sys
sys.modules["hypothesis"] = None
import alexnet_np.gradcheck
try:
    import alexnet_np.testing
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alexnet_np.testing needs Hypothesis: pip install 'alexnet-np[test]'\n"
