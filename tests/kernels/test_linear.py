"""The linear layer: loops and torch."""

import numpy as np
import pytest
import torch
from against_torch import relative_error
from cases import LINEAR
from hypothesis import given, strategies as st

from alexnet_np import testing

shapes = pytest.mark.parametrize("shapes", LINEAR.values(), ids=LINEAR)
ERROR = {"float32": 1e-5, "float64": 1e-12}


def example(shapes, dtype):
    rng = np.random.default_rng(0)
    return [None if shape is None else rng.standard_normal(shape).astype(dtype) for shape in shapes]


def assert_equals_torch(book, arrays, error):
    leaves = [
        None if array is None else torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays
    ]
    x, w, b = leaves
    expected = torch.nn.functional.linear(x, w.T, b)
    y, saved = book.linear_forward(*arrays)
    assert relative_error(y, expected) <= error
    dy = np.random.default_rng(1).standard_normal(y.shape).astype(y.dtype)
    expected.backward(torch.tensor(dy, dtype=torch.float64))
    for grad, leaf in zip(book.linear_backward(dy, saved), leaves, strict=True):
        assert (grad is None) == (leaf is None)
        assert grad is None or relative_error(grad, leaf.grad) <= error
        assert grad is None or grad.dtype == y.dtype == arrays[0].dtype


def test_sums_written_out(book):
    x, w, b = example(((3, 4), (4, 2), (2,)), "float64")
    y, saved = book.linear_forward(x, w, b)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    dx, dw, db = book.linear_backward(dy, saved)
    for n, o in np.ndindex(3, 2):
        assert y[n, o] == pytest.approx(b[o] + sum(x[n, i] * w[i, o] for i in range(4)))
    for n, i in np.ndindex(3, 4):
        assert dx[n, i] == pytest.approx(sum(dy[n, o] * w[i, o] for o in range(2)))
    for i, o in np.ndindex(4, 2):
        assert dw[i, o] == pytest.approx(sum(x[n, i] * dy[n, o] for n in range(3)))
    for o in range(2):
        assert db[o] == pytest.approx(sum(dy[n, o] for n in range(3)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@shapes
def test_torchs_numbers(book, shapes, dtype):
    assert_equals_torch(book, example(shapes, dtype), ERROR[dtype])


@given(
    N=st.integers(1, 9), inputs=st.integers(1, 80), outputs=st.integers(1, 80), bias=st.booleans(), seed=testing.seeds
)
def test_any_size(book, N, inputs, outputs, bias, seed):
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal((N, inputs)), rng.standard_normal((inputs, outputs))]
    arrays.append(rng.standard_normal(outputs) if bias else None)
    for dtype, error in (("float64", 1e-11), ("float32", 1e-4)):
        assert_equals_torch(book, [None if array is None else array.astype(dtype) for array in arrays], error)
