"""ReLU and softmax: definitions, torch, laws, and numbers that are none."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from alexnet_np import testing

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
rows = st.tuples(st.integers(1, 5), st.integers(1, 7))


# ---- ReLU


@dtypes
@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple), seed=testing.seeds)
def test_relu_element_by_element(book, dtype, shape, seed):
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    dy = np.random.default_rng(seed + 1).standard_normal(shape).astype(dtype)
    y, saved = book.relu_forward(x)
    dx = book.relu_backward(dy, saved)
    assert y.dtype == dx.dtype == dtype
    for index in np.ndindex(shape):
        assert y[index] == (x[index] if x[index] > 0 else 0)
        assert dx[index] == (dy[index] if x[index] > 0 else 0)


@dtypes
def test_relu_where_there_is_no_slope_and_no_number(book, dtype):
    """At 0 the slope is 0, infinity is a number, NaN stays NaN in forward: all as in torch."""
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], dtype)
    dy = np.array([2.0, 3.0, 4.0, 5.0, 6.0, np.inf, np.inf], dtype)
    tensor = torch.tensor(x, requires_grad=True)
    expected = torch.relu(tensor)
    expected.backward(torch.tensor(dy))
    y, saved = book.relu_forward(x)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_array_equal(y, np.array([0, 0, np.inf, 0, np.nan, 1, 0], dtype))
    dx = book.relu_backward(dy, saved)
    np.testing.assert_array_equal(dx[:4], tensor.grad.numpy()[:4])
    np.testing.assert_array_equal(dx[5:], [np.inf, 0], "0 times infinity is NaN, and has no place here")


# ---- softmax


def softmax_loop(x):
    p = np.empty(x.shape)
    for n, row in enumerate(x):
        exponentials = [np.exp(value) for value in row]
        p[n] = [e / sum(exponentials) for e in exponentials]
    return p


@given(shape=rows, seed=testing.seeds)
def test_softmax_and_its_gradient_are_torchs(book, shape, seed):
    rng = np.random.default_rng(seed)
    x, dp = 3 * rng.standard_normal(shape), rng.standard_normal(shape)
    p, saved = book.softmax_forward(x)
    np.testing.assert_allclose(p, softmax_loop(x), rtol=1e-12)
    tensor = torch.tensor(x, requires_grad=True)
    expected = torch.softmax(tensor, dim=1)
    expected.backward(torch.tensor(dp))
    np.testing.assert_allclose(p, expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(book.softmax_backward(dp, saved), tensor.grad.numpy(), rtol=1e-10, atol=1e-14)


@dtypes
@given(shape=rows, seed=testing.seeds, shift=st.floats(-50, 50))
def test_softmax_laws(book, dtype, shape, seed, shift):
    """Rows sum to 1 and their gradients to 0; adding the same to a whole row changes nothing."""
    rng = np.random.default_rng(seed)
    x, dp = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    p, saved = book.softmax_forward(x)
    dx = book.softmax_backward(dp, saved)
    assert p.dtype == dx.dtype == dtype
    error = 1e-12 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=error)
    np.testing.assert_allclose(dx.sum(axis=1), 0, atol=error)
    np.testing.assert_allclose(book.softmax_forward(x + np.asarray(shift, dtype))[0], p, rtol=10 * error)


@dtypes
def test_softmax_of_large_logits(book, dtype):
    """exp would overflow, or give nothing but zeros to divide by."""
    x = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4], [88.8, 89.8, 709.9]], dtype)
    p, saved = book.softmax_forward(x)
    np.testing.assert_allclose(p, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]], rtol=1e-6, atol=1e-30)
    assert np.isfinite(book.softmax_backward(np.ones_like(p), saved)).all()
