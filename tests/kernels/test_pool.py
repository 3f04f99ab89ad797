"""Max-pooling and adaptive average pooling: loops, torch with its ties and its NaN, laws."""

from itertools import product

import numpy as np
import pytest
import torch
from against_torch import nchw, nhwc, relative_error
from cases import AVG, POOL
from hypothesis import given, strategies as st

from alexnet_np import backend, gradcheck, testing
from alexnet_np.gradcheck import kink_free

reference = backend.get("reference").kernels

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
geometries = pytest.mark.parametrize("geometry", POOL.values(), ids=POOL)
grids = pytest.mark.parametrize(("shape", "size"), AVG.values(), ids=AVG)


def ends(padding):
    """p, (vertical, horizontal) or ((top, bottom), (left, right)) -> (top, bottom), (left, right)"""
    axes = (padding, padding) if isinstance(padding, int) else padding
    return tuple((axis, axis) if isinstance(axis, int) else axis for axis in axes)


def pair(value):
    return (value, value) if isinstance(value, int) else value


def count_windows(size, kernel, stride, before, after, ceil_mode):
    """One window after another, while it fits; in ceil mode one more that starts before the end, if pixels are left."""
    count = max(0, (size + before + after - kernel) // stride + 1)
    covered = (count - 1) * stride + kernel
    return count + (ceil_mode and covered < size + before + after and count * stride < size + before)


def loop(x, dy_of, kernel_size, stride=None, padding=0, ceil_mode=False, ties="first"):
    """y, and dx for the dy that ``dy_of`` gives for y's shape: window by window."""
    kernel, stride = pair(kernel_size), pair(kernel_size if stride is None else stride)
    (top, bottom), (left, right) = ends(padding)
    N, H, W, C = x.shape
    OH = count_windows(H, kernel[0], stride[0], top, bottom, ceil_mode)
    OW = count_windows(W, kernel[1], stride[1], left, right, ceil_mode)
    y, dy, dx = np.empty((N, OH, OW, C), x.dtype), dy_of((N, OH, OW, C)), np.zeros(x.shape)
    for n, i, j, c in np.ndindex(y.shape):
        rows = range(max(0, i * stride[0] - top), min(H, i * stride[0] - top + kernel[0]))
        columns = range(max(0, j * stride[1] - left), min(W, j * stride[1] - left + kernel[1]))
        pixels = [(n, h, w, c) for h in rows for w in columns]
        best = pixels[0]
        for pixel in pixels:
            if x[pixel] > x[best]:
                best = pixel
        y[n, i, j, c] = x[best]
        for pixel in pixels if ties == "all" else [best]:
            if x[pixel] == x[best]:
                dx[pixel] += dy[n, i, j, c]
    return y, dx


def random_dy(dtype="float64"):
    return lambda shape: np.random.default_rng(1).standard_normal(shape).astype(dtype)


# ---- max-pooling


@dtypes
@pytest.mark.parametrize("ties", ["first", "all"])
@pytest.mark.parametrize("tied", [False, True], ids=["distinct", "tied"])
@geometries
def test_the_largest_of_each_window(book, geometry, tied, ties, dtype):
    """The value to the bit. The gradient to the first of the largest in reading order, or to all of them."""
    shape, *options = geometry
    rng = np.random.default_rng(0)
    x = (rng.integers(-2, 3, shape) if tied else kink_free(shape, rng)).astype(dtype)
    expected, expected_dx = loop(x, random_dy(dtype), *options, ties)
    y, saved = book.max_pool2d_forward(x, *options, ties)
    dx = book.max_pool2d_backward(random_dy(dtype)(y.shape), saved)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-6, atol=1e-6)
    assert y.dtype == dx.dtype == dtype


@dtypes
@given(geometry=testing.pool_geometries(), seed=testing.seeds, tied=st.booleans())
def test_any_geometry(book, dtype, geometry, seed, tied):
    rng = np.random.default_rng(seed)
    x = (rng.integers(-2, 3, geometry.x_shape) if tied else kink_free(geometry.x_shape, rng)).astype(dtype)
    options = geometry.kernel_size, geometry.stride, geometry.padding, geometry.ceil_mode
    y, saved = book.max_pool2d_forward(x, *options)
    assert y.shape == geometry.y_shape
    expected, expected_dx = loop(x, random_dy(dtype), *options)
    np.testing.assert_array_equal(y, expected)
    dx = book.max_pool2d_backward(random_dy(dtype)(y.shape), saved)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-5, atol=1e-5)


@given(geometry=testing.pool_geometries(), seed=testing.seeds)
def test_gradients_in_any_geometry(geometry, seed):
    x = kink_free(geometry.x_shape, np.random.default_rng(seed))
    inputs = (x, geometry.kernel_size, geometry.stride, geometry.padding, geometry.ceil_mode)
    result = gradcheck.check_function(reference.max_pool2d_forward, reference.max_pool2d_backward, inputs)
    assert result.rows[0].kinks == 0


@dtypes
@pytest.mark.parametrize("kind", ["tied", "constant", "with NaN", "with infinities", "all -infinity"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 0)), (2, 3, 1)])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_torchs_values_ties_and_nan(book, kernel, stride, padding, ceil_mode, kind, dtype):
    """A tie gives all to the first, NaN beats everything and is passed on, and padding wins nothing at all."""
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (2, 7, 8, 3)).astype(dtype)
    if kind == "constant":
        x[...] = -1.5
    elif kind == "with NaN":
        x[0, 3, 5, 1] = x[1, 0, 0, 2] = np.nan  # in no window together: which of two would win is left open
    elif kind == "all -infinity":
        x[...] = -np.inf
    elif kind == "with infinities":
        x[rng.random(x.shape) < 0.2] = np.inf
        x[rng.random(x.shape) < 0.2] = -np.inf
    tensor = nchw(x).requires_grad_()
    expected = torch.nn.functional.max_pool2d(tensor, kernel, stride, padding, 1, ceil_mode)
    y, saved = book.max_pool2d_forward(x, kernel, stride, padding, ceil_mode)
    np.testing.assert_array_equal(y, nhwc(expected))
    dy = random_dy(dtype)(y.shape)
    expected.backward(nchw(dy))
    np.testing.assert_allclose(book.max_pool2d_backward(dy, saved), nhwc(tensor.grad), rtol=1e-5, atol=1e-5)


def test_sizes_are_torchs(book):
    """In floor and ceil mode, for every kernel, stride and padding that torch takes."""
    for size, kernel, stride, ceil_mode in product(range(1, 9), range(1, 5), range(1, 5), (False, True)):
        for padding in range(max(0, (kernel - size + 1) // 2), kernel // 2 + 1):
            options = (kernel, 1), (stride, 1), (padding, 0)
            expected = torch.nn.functional.max_pool2d(torch.zeros(1, 1, size, 2), *options, 1, ceil_mode)
            y, _ = book.max_pool2d_forward(np.zeros((1, size, 2, 1), np.float32), *options, ceil_mode)
            assert y.shape == nhwc(expected).shape, (size, options, ceil_mode)


@dtypes
@given(geometry=testing.pool_geometries(), seed=testing.seeds)
def test_no_gradient_is_lost(book, dtype, geometry, seed):
    """The sum of dx is the sum of dy, for each image and channel, however many ties there are."""
    x = np.random.default_rng(seed).integers(-1, 2, geometry.x_shape).astype(dtype)
    options = geometry.kernel_size, geometry.stride, geometry.padding, geometry.ceil_mode
    y, saved = book.max_pool2d_forward(x, *options)
    dy = random_dy(dtype)(y.shape)
    dx = book.max_pool2d_backward(dy, saved)
    np.testing.assert_allclose(dx.sum(axis=(1, 2)), dy.sum(axis=(1, 2)), rtol=1e-4, atol=1e-4)


@dtypes
def test_padding_never_wins(book, dtype):
    """Among negative numbers 0 would."""
    x = np.full((1, 2, 3, 2), -5.0, dtype)
    y, saved = book.max_pool2d_forward(x, 2, 1, 1)
    np.testing.assert_array_equal(y, np.full((1, 3, 4, 2), -5.0))
    assert book.max_pool2d_backward(np.ones_like(y), saved).sum() == y.size


@dtypes
def test_infinite_gradients_reach_the_winners_only(book, dtype):
    """0 times infinity is NaN, and has no place here."""
    x = np.arange(12.0).reshape(1, 3, 4, 1).astype(dtype)
    y, saved = book.max_pool2d_forward(x, (3, 2))
    dx = book.max_pool2d_backward(np.full_like(y, np.inf), saved)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 0, 0], [0, 0, 0, 0], [0, np.inf, 0, np.inf]])


@dtypes
def test_stride_defaults_to_the_kernel(book, dtype):
    x = kink_free((2, 7, 9, 2), np.random.default_rng(0), dtype)
    for kernel in (2, (3, 2)):
        expected, _ = book.max_pool2d_forward(x, kernel, kernel)
        np.testing.assert_array_equal(book.max_pool2d_forward(x, kernel)[0], expected)


# ---- adaptive average pooling


def loop_means(x, OH, OW):
    N, H, W, C = x.shape
    y = np.empty((N, OH, OW, C))
    for i, j in np.ndindex(OH, OW):
        rows = slice(i * H // OH, -(-(i + 1) * H // OH))
        columns = slice(j * W // OW, -(-(j + 1) * W // OW))
        y[:, i, j] = x[:, rows, columns].astype("float64").mean(axis=(1, 2))
    return y


def assert_means(book, x, size, error):
    y, saved = book.adaptive_avg_pool2d_forward(x, size)
    tensor = nchw(x).requires_grad_()
    expected = torch.nn.functional.adaptive_avg_pool2d(tensor, size)
    assert relative_error(y, loop_means(x, *pair(size))) <= error
    assert relative_error(y, nhwc(expected)) <= error
    dy = random_dy(x.dtype)(y.shape)
    expected.backward(nchw(dy))
    dx = book.adaptive_avg_pool2d_backward(dy, saved)
    assert relative_error(dx, nhwc(tensor.grad)) <= error
    np.testing.assert_allclose(dx.sum(axis=(1, 2)), dy.sum(axis=(1, 2)), rtol=1e3 * error, atol=1e3 * error)
    assert y.dtype == dx.dtype == x.dtype


@dtypes
@grids
def test_the_mean_of_each_cell(book, shape, size, dtype):
    assert_means(
        book, np.random.default_rng(0).standard_normal(shape).astype(dtype), size, 1e-6 if dtype == "float32" else 1e-14
    )


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    seed=testing.seeds,
)
def test_cells_of_any_grid(book, shape, size, seed):
    x = np.random.default_rng(seed).standard_normal(shape)
    assert_means(book, x, size, 1e-13)
    testing.assert_adjoint(
        lambda x: book.adaptive_avg_pool2d_forward(x, size)[0],
        lambda c: book.adaptive_avg_pool2d_backward(c, book.adaptive_avg_pool2d_forward(x, size)[1]),
        x,
        random_dy()((shape[0], *size, shape[3])),
    )


@dtypes
def test_a_grid_of_the_images_own_size_changes_nothing(book, dtype):
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 3)).astype(dtype)
    y, saved = book.adaptive_avg_pool2d_forward(x, (6, 5))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(book.adaptive_avg_pool2d_backward(x, saved), x)
