"""Local response normalisation: loops, torch, laws."""

import numpy as np
import pytest
import torch
from against_torch import nchw, nhwc, relative_error
from cases import LRN
from hypothesis import given, strategies as st

from alexnet_np import testing

options = pytest.mark.parametrize(("shape", "options"), LRN.values(), ids=LRN)


def window(i, size, start, stop):
    """size positions around i, as far as they lie within start ... stop - 1; the middle one is the upper of two."""
    return [j for j in range(i - size // 2, i - size // 2 + size) if start <= j < stop]


def neighbours(place, shape, size, across, groups):
    """Every element in the window of one element."""
    n, h, w, c = place
    _, H, W, C = shape
    if across == "space":
        return [(n, i, j, c) for i in window(h, size, 0, H) for j in window(w, size, 0, W)]
    first = c // (C // groups) * (C // groups)
    return [(n, h, w, j) for j in window(c, size, first, first + C // groups)]


def loop_forward(x, size, alpha=1e-4, beta=0.75, k=1.0, divide_alpha=True, across="channels", groups=1):
    elements = size * size if across == "space" else size
    a = alpha / elements if divide_alpha else alpha
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        total = sum(x[other] ** 2 for other in neighbours(place, x.shape, size, across, groups))
        y[place] = x[place] / (k + a * total) ** beta
    return y


def loop_backward(dy, x, size, alpha=1e-4, beta=0.75, k=1.0, divide_alpha=True, across="channels", groups=1):
    """The quotient rule, each output telling each of its neighbours its part."""
    elements = size * size if across == "space" else size
    a = alpha / elements if divide_alpha else alpha
    dx = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        others = neighbours(place, x.shape, size, across, groups)
        s = k + a * sum(x[other] ** 2 for other in others)
        dx[place] += dy[place] * s**-beta
        for other in others:
            dx[other] -= dy[place] * x[place] * beta * s ** (-beta - 1) * 2 * a * x[other]
    return dx


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@options
def test_the_formula_written_out(book, shape, options, dtype):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    y, saved = book.local_response_norm_forward(x, **options)
    dx = book.local_response_norm_backward(dy, saved)
    assert y.dtype == dx.dtype == dtype
    error = 1e-12 if dtype == "float64" else 2e-6
    exact = x.astype("float64"), dy.astype("float64")
    assert relative_error(y, loop_forward(exact[0], **options)) <= error
    assert relative_error(dx, loop_backward(exact[1], exact[0], **options)) <= error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 9)),
    size=st.integers(1, 7),
    alpha=st.floats(0, 2),
    beta=st.floats(0.1, 2),
    k=st.floats(0.5, 3),
    seed=testing.seeds,
)
def test_torch_divides_alpha_by_the_size(book, dtype, shape, size, alpha, beta, k, seed):
    """And the paper does not: alpha there is alpha * size here."""
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    tensor = nchw(x).requires_grad_()
    expected = torch.nn.functional.local_response_norm(tensor, size, alpha, beta, k)
    expected.backward(nchw(dy))
    error = 1e-11 if dtype == "float64" else 1e-5
    for arguments in ((alpha, beta, k), (alpha / size, beta, k, False)):
        y, saved = book.local_response_norm_forward(x, size, *arguments)
        assert relative_error(y, nhwc(expected)) <= error
        assert relative_error(book.local_response_norm_backward(dy, saved), nhwc(tensor.grad)) <= error


@pytest.mark.parametrize("across", ["channels", "space"])
def test_alpha_0_and_k_1_is_the_identity(book, across):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    y, saved = book.local_response_norm_forward(x, 3, alpha=0.0, k=1.0, across=across)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(book.local_response_norm_backward(dy, saved), dy)


def test_groups_are_norms_side_by_side(book):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 2, 12)), rng.standard_normal((2, 3, 2, 12))
    y, saved = book.local_response_norm_forward(x, 5, alpha=1.0, groups=3)
    dx = book.local_response_norm_backward(dy, saved)
    for part in (slice(0, 4), slice(4, 8), slice(8, 12)):
        y_part, saved_part = book.local_response_norm_forward(x[..., part], 5, alpha=1.0)
        np.testing.assert_allclose(y[..., part], y_part, rtol=1e-12)
        np.testing.assert_allclose(
            dx[..., part], book.local_response_norm_backward(dy[..., part], saved_part), rtol=1e-12
        )


def test_over_space_channels_are_alone_and_axes_alike(book):
    """A permutation of channels, or of rows for columns, goes through (an odd window is symmetrical)."""
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 3))
    y, _ = book.local_response_norm_forward(x, 3, alpha=1.0, across="space")
    swapped, _ = book.local_response_norm_forward(x.transpose(0, 2, 1, 3), 3, alpha=1.0, across="space")
    permuted, _ = book.local_response_norm_forward(x[..., [2, 0, 1]], 3, alpha=1.0, across="space")
    np.testing.assert_allclose(swapped.transpose(0, 2, 1, 3), y, rtol=1e-14)
    np.testing.assert_allclose(permuted, y[..., [2, 0, 1]], rtol=1e-14)


@pytest.mark.parametrize(("mistake", "error"), [({"groups": 2}, ValueError), ({"across": "pixels"}, KeyError)])
def test_no_book_takes_what_the_reference_refuses(book, mistake, error):
    with pytest.raises(error):
        book.local_response_norm_forward(np.ones((1, 2, 2, 5), np.float32), 3, **mistake)
