"""Softmax cross-entropy: loops, torch, laws, and logits that overflow."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from alexnet_np import testing

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
smoothings = st.sampled_from([0.0, 0.1, 0.7])


@st.composite
def problems(draw):
    """logits (N, K), labels (N,)"""
    N, K, rng = draw(st.integers(1, 5)), draw(st.integers(1, 6)), np.random.default_rng(draw(testing.seeds))
    return 3 * rng.standard_normal((N, K)), rng.integers(K, size=N)


@given(problem=problems(), smoothing=smoothings)
def test_the_formula_written_out(book, problem, smoothing):
    logits, labels = problem
    N, K = logits.shape
    expected, expected_grad = 0.0, np.empty((N, K))
    for n in range(N):
        p = np.exp(logits[n]) / np.exp(logits[n]).sum()
        for k in range(K):
            q = smoothing / K + (1 - smoothing if k == labels[n] else 0)
            expected -= q * np.log(p[k]) / N
            expected_grad[n, k] = (p[k] - q) / N
    loss, saved = book.softmax_cross_entropy_forward(logits, labels, smoothing)
    assert loss == pytest.approx(expected, rel=1e-12, abs=1e-14)
    np.testing.assert_allclose(book.softmax_cross_entropy_backward(1.0, saved), expected_grad, rtol=1e-10, atol=1e-14)


@dtypes
@given(problem=problems(), smoothing=smoothings, dloss=st.floats(-3, 3))
def test_torchs_numbers(book, dtype, problem, smoothing, dloss):
    logits, labels = problem[0].astype(dtype), problem[1]
    tensor = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(tensor, torch.tensor(labels), label_smoothing=smoothing)
    (dloss * expected).backward()
    loss, saved = book.softmax_cross_entropy_forward(logits, labels, smoothing)
    dlogits = book.softmax_cross_entropy_backward(dloss, saved)
    error = 1e-10 if dtype == "float64" else 1e-5
    assert loss.dtype == dlogits.dtype == dtype
    assert loss.shape == ()
    assert float(loss) == pytest.approx(expected.item(), rel=error, abs=error)
    np.testing.assert_allclose(dlogits, tensor.grad.numpy(), rtol=error, atol=error)


@given(problem=problems(), smoothing=smoothings, shift=st.floats(-100, 100))
def test_laws(book, problem, smoothing, shift):
    """Rows of the gradient sum to 0, and adding the same to all logits of an image changes nothing."""
    logits, labels = problem
    loss, saved = book.softmax_cross_entropy_forward(logits, labels, smoothing)
    dlogits = book.softmax_cross_entropy_backward(1.0, saved)
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-14)
    shifted, _ = book.softmax_cross_entropy_forward(logits + shift, labels, smoothing)
    assert float(shifted) == pytest.approx(float(loss), rel=1e-9, abs=1e-12)


def test_equal_logits_cost_the_logarithm_of_their_number(book):
    for smoothing in (0.0, 0.3):
        loss, _ = book.softmax_cross_entropy_forward(np.zeros((3, 10)), np.array([1, 5, 9]), smoothing)
        assert loss == pytest.approx(np.log(10))


@dtypes
def test_large_logits(book, dtype):
    """log of a softmax that underflowed would be -inf, exp of such logits inf."""
    logits = np.array([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]], dtype)
    loss, saved = book.softmax_cross_entropy_forward(logits, np.array([0, 0]))
    assert loss == pytest.approx(1e4)
    dlogits = book.softmax_cross_entropy_backward(1.0, saved)
    np.testing.assert_allclose(dlogits, [[0, 0, 0], [-0.5, 0, 0.5]], atol=1e-30)


@pytest.mark.parametrize("kind", ["uint8", "int32", "int64"])
def test_labels_of_any_integer_kind(book, kind):
    logits = np.random.default_rng(0).standard_normal((4, 5))
    labels = np.array([0, 4, 2, 2])
    expected, _ = book.softmax_cross_entropy_forward(logits, labels)
    assert book.softmax_cross_entropy_forward(logits, labels.astype(kind))[0] == expected
