"""Convolution: loops, torch, im2col and its adjoint, groups; random geometry."""

import numpy as np
import pytest
import torch
from against_torch import nhwc, relative_error, torch_layout
from cases import CONV
from hypothesis import given, strategies as st

from alexnet_np import backend, gradcheck, testing

reference = backend.get("reference").kernels

geometries = pytest.mark.parametrize("geometry", CONV.values(), ids=CONV)
ERROR = {"float32": 1e-5, "float64": 1e-12}


def ends(padding):
    """p, (vertical, horizontal) or ((top, bottom), (left, right)) -> top, bottom, left, right"""
    vertical, horizontal = (padding, padding) if isinstance(padding, int) else padding
    return tuple(n for axis in (vertical, horizontal) for n in ((axis, axis) if isinstance(axis, int) else axis))


def loop_forward(x, w, b, stride, padding, groups):
    """The definition, window by window and pixel by pixel, in float64."""
    x, w = x.astype("float64"), w.astype("float64")
    N, H, W, _ = x.shape
    KH, KW, C, O = w.shape
    SH, SW = (stride, stride) if isinstance(stride, int) else stride
    top, bottom, left, right = ends(padding)
    y = np.zeros((N, (H + top + bottom - KH) // SH + 1, (W + left + right - KW) // SW + 1, O))
    for n, i, j in np.ndindex(y.shape[:3]):
        for u, v in np.ndindex(KH, KW):
            h, k = i * SH + u - top, j * SW + v - left
            if 0 <= h < H and 0 <= k < W:
                for g in range(groups):
                    o = slice(g * O // groups, (g + 1) * O // groups)
                    y[n, i, j, o] += x[n, h, k, g * C : (g + 1) * C] @ w[u, v, :, o]
    return y if b is None else y + b


def tensor(array):
    """A copy in C order: torch's convolution takes other strides of axes of length 1 for channels_last, and fails."""
    return torch.from_numpy(array.astype("float64", order="C"))


def torch_conv(x, w, b, stride, padding, groups):
    """torch's result as (N, OH, OW, O) in float64, and leaves x, w, b in torch's layouts for its gradients."""
    top, bottom, left, right = ends(padding)
    leaves = [tensor(x.transpose(0, 3, 1, 2)), tensor(torch_layout(w)), None if b is None else tensor(b)]
    for leaf in leaves:
        if leaf is not None:
            leaf.requires_grad_()
    padded = torch.nn.functional.pad(leaves[0], (left, right, top, bottom))
    return torch.nn.functional.conv2d(padded, leaves[1], leaves[2], stride, 0, 1, groups), leaves


def example(geometry, dtype):
    x, w, b, *rest = geometry
    rng = np.random.default_rng(0)
    return [None if shape is None else rng.standard_normal(shape).astype(dtype) for shape in (x, w, b)], rest


def assert_equals_torch(book, arrays, options, error):
    expected, leaves = torch_conv(*arrays, *options)
    y, saved = book.conv2d_forward(*arrays, *options)
    assert relative_error(y, nhwc(expected)) <= error
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    expected.backward(tensor(dy.transpose(0, 3, 1, 2)))
    dx, dw, db = book.conv2d_backward(dy, saved)
    assert relative_error(dx, nhwc(leaves[0].grad)) <= error
    assert relative_error(torch_layout(dw), leaves[1].grad) <= error
    assert (db is None) == (leaves[2] is None)
    assert db is None or relative_error(db, leaves[2].grad) <= error
    assert {array.dtype for array in (y, dx, dw) if array is not None} == {arrays[0].dtype}


# ---- what it computes


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@geometries
def test_forward_is_the_sum_over_the_window(book, geometry, dtype):
    arrays, options = example(geometry, dtype)
    y, _ = book.conv2d_forward(*arrays, *options)
    assert relative_error(y, loop_forward(*arrays, *options)) <= ERROR[dtype]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@geometries
def test_forward_and_backward_are_torchs(book, geometry, dtype):
    assert_equals_torch(book, *example(geometry, dtype), ERROR[dtype])


@given(geometry=testing.conv_geometries(), seed=testing.seeds, bias=st.booleans())
def test_any_geometry(book, geometry, seed, bias):
    """torch's numbers in float32 and float64, and a result of the size that was asked for."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.w_shape)]
    arrays.append(rng.standard_normal(geometry.w_shape[3]) if bias else None)
    options = geometry.stride, geometry.padding, geometry.groups
    assert book.conv2d_forward(*arrays, *options)[0].shape == geometry.y_shape
    for dtype, error in (("float64", 1e-11), ("float32", 1e-4)):
        cast = [None if array is None else array.astype(dtype) for array in arrays]
        assert_equals_torch(book, cast, options, error)


@given(
    geometry=testing.conv_geometries(channels=32, max_kernel=1, max_stride=1, max_padding=3),
    side=st.sampled_from([3, 5]),
    seed=testing.seeds,
)
def test_kernels_for_whole_vectors_in_any_geometry(book, geometry, side, seed):
    """3x3 and 5x5 of stride 1 on multiples of 32 channels: where Winograd may be chosen, or must be refused."""
    rng = np.random.default_rng(seed)
    N, H, W, C = geometry.x_shape
    x = rng.standard_normal((N, H + side - 1, W + side - 1, C), dtype=np.float32)
    w = rng.standard_normal((side, side, *geometry.w_shape[2:]), dtype=np.float32)
    options = 1, geometry.padding, geometry.groups
    y, _ = book.conv2d_forward(x, w, None, *options)
    assert y.shape == geometry.y_shape
    assert_equals_torch(book, [x, w, None], options, 1e-4)


@given(geometry=testing.conv_geometries(max_kernel=3), seed=testing.seeds)
def test_gradients_in_any_geometry(geometry, seed):
    rng = np.random.default_rng(seed)
    x, w, b = (rng.standard_normal(shape) for shape in (geometry.x_shape, geometry.w_shape, geometry.w_shape[3:]))
    inputs = (x, w, b, geometry.stride, geometry.padding, geometry.groups)
    gradcheck.check_function(reference.conv2d_forward, reference.conv2d_backward, inputs, complex_step=True)
    gradcheck.check_function(reference.conv2d_forward, reference.conv2d_backward, inputs)


# ---- laws


@pytest.mark.parametrize("name", ["in groups, padded unevenly", "a group for each channel", "5x5 in two groups"])
def test_groups_are_convolutions_side_by_side(book, name):
    (x, w, b), (stride, padding, groups) = example(CONV[name], "float64")
    y, saved = book.conv2d_forward(x, w, b, stride, padding, groups)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    parts = []
    for x_g, w_g, b_g, dy_g in zip(
        np.split(x, groups, 3), np.split(w, groups, 3), np.split(b, groups), np.split(dy, groups, 3), strict=True
    ):
        y_g, saved_g = book.conv2d_forward(x_g, w_g, b_g, stride, padding, 1)
        parts.append((y_g, *book.conv2d_backward(dy_g, saved_g)))
    for whole, part in zip((y, *book.conv2d_backward(dy, saved)), zip(*parts, strict=True), strict=True):
        np.testing.assert_allclose(whole, np.concatenate(part, axis=-1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_1x1_convolution_is_a_linear_layer_for_each_pixel(book, dtype):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, 5, 4), (1, 1, 4, 6), (6,)))
    y, saved = book.conv2d_forward(x, w, b)
    expected, linear_saved = book.linear_forward(x.reshape(-1, 4), w[0, 0], b)
    dy = rng.standard_normal(y.shape).astype(dtype)
    grads, expected_grads = book.conv2d_backward(dy, saved), book.linear_backward(dy.reshape(-1, 6), linear_saved)
    for a, e in zip((y, *grads), (expected, *expected_grads), strict=True):
        np.testing.assert_allclose(a.ravel(), e.ravel(), rtol=1e-5, atol=1e-5)


def test_a_pixel_meets_the_kernel_unflipped(book):
    """An image of one bright pixel gives the kernel turned by 180 degrees around it, as correlation does."""
    x, w = np.zeros((1, 5, 5, 1)), np.arange(9.0).reshape(3, 3, 1, 1)
    x[0, 2, 2, 0] = 1
    y, _ = book.conv2d_forward(x, w, None)
    np.testing.assert_array_equal(y[0, :, :, 0], w[::-1, ::-1, 0, 0])


def test_one_number_stands_for_both_axes_and_both_ends(book):
    (x, w, b), _ = example(CONV["pixels left over"], "float32")
    expected, _ = book.conv2d_forward(x, w, b, (2, 2), ((1, 1), (1, 1)))
    for stride, padding in ((2, 1), (2, (1, 1)), ((2, 2), (1, (1, 1)))):
        np.testing.assert_array_equal(book.conv2d_forward(x, w, b, stride, padding)[0], expected)


def test_nan_and_infinity_stay_in_their_windows(book):
    """What a NaN touches is NaN, and no more than that, in forward and backward."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 9, 8, 3), dtype=np.float32)
    w = rng.standard_normal((3, 3, 3, 4), dtype=np.float32)
    y, saved = book.conv2d_forward(x, w, None, 1, 1)
    bad = x.copy()
    bad[1, 4, 5, 2] = np.nan
    touched = np.zeros(y.shape, bool)
    touched[1, 3:6, 4:7] = True
    with np.errstate(invalid="ignore"):
        result, _ = book.conv2d_forward(bad, w, None, 1, 1)
    np.testing.assert_array_equal(np.isnan(result), touched)
    np.testing.assert_allclose(result[~touched], y[~touched], rtol=1e-5, atol=1e-5)
    dy = np.zeros_like(y)
    dy[0, 2, 3, 1] = np.inf
    with np.errstate(invalid="ignore"):
        dx, _, _ = book.conv2d_backward(dy, saved)
    touched = np.zeros(x.shape, bool)
    touched[0, 1:4, 2:5] = True
    np.testing.assert_array_equal(np.isinf(dx), touched)


# ---- im2col and col2im


def loop_im2col(x, kernel_size, stride, padding, pad_value, y_shape):
    N, H, W, C = x.shape
    top, _, left, _ = ends(padding)
    cols = np.full((N, *y_shape[1:3], *kernel_size, C), pad_value)
    for n, i, j, u, v in np.ndindex(cols.shape[:5]):
        h, k = i * stride[0] + u - top, j * stride[1] + v - left
        if 0 <= h < H and 0 <= k < W:
            cols[n, i, j, u, v] = x[n, h, k]
    return cols


@given(geometry=testing.conv_geometries(), seed=testing.seeds)
def test_im2col_copies_windows_and_col2im_is_its_adjoint(book, geometry, seed):
    """<im2col(x), c> = <x, col2im(c)>"""
    rng = np.random.default_rng(seed)
    x, kernel_size = rng.standard_normal(geometry.x_shape), geometry.w_shape[:2]
    stride, padding = geometry.stride, geometry.padding
    cols = book.im2col(x, kernel_size, stride, padding, 7.5)
    np.testing.assert_array_equal(cols, loop_im2col(x, kernel_size, stride, padding, 7.5, geometry.y_shape))
    testing.assert_adjoint(
        lambda x: book.im2col(x, kernel_size, stride, padding),
        lambda c: book.col2im(c, x.shape[1:3], stride, padding),
        x,
        rng.standard_normal(cols.shape),
    )


@given(geometry=testing.pool_geometries(), seed=testing.seeds)
def test_windows_over_the_end_too(book, geometry, seed):
    rng = np.random.default_rng(seed)
    x, kernel_size, stride = rng.standard_normal(geometry.x_shape), geometry.kernel_size, geometry.stride
    padding, ceil_mode = geometry.padding, geometry.ceil_mode
    cols = book.im2col(x, kernel_size, stride, padding, -np.inf, ceil_mode)
    np.testing.assert_array_equal(cols, loop_im2col(x, kernel_size, stride, padding, -np.inf, geometry.y_shape))
    testing.assert_adjoint(
        lambda x: book.im2col(x, kernel_size, stride, padding, 0.0, ceil_mode),
        lambda c: book.col2im(c, x.shape[1:3], stride, padding),
        x,
        rng.standard_normal(cols.shape),
    )


def test_col2im_of_ones_counts_the_windows_over_each_pixel(book):
    counts = book.col2im(np.ones((1, 3, 2, 3, 3, 1)), (7, 5), 2)
    np.testing.assert_array_equal(counts[0, :, :, 0], np.outer([1, 1, 2, 1, 2, 1, 1], [1, 1, 2, 1, 1]))
