"""softmax_cross_entropy against torch, and what it and top_k_correct refuse."""

import numpy as np
import pytest
import torch
from against_torch import relative_error

from alexnet_np import losses


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_loss_and_gradient_are_torchs(dtype, tolerance, label_smoothing):
    rng = np.random.default_rng(0)
    logits, labels = 5 * rng.standard_normal((6, 7)).astype(dtype), rng.integers(7, size=6)
    x = torch.from_numpy(logits.astype(np.float64)).requires_grad_()
    expected = torch.nn.functional.cross_entropy(x, torch.from_numpy(labels), label_smoothing=label_smoothing)
    expected.backward()

    loss, dlogits = losses.softmax_cross_entropy(logits, labels, label_smoothing)
    assert loss.shape == ()
    assert loss.dtype == dlogits.dtype == dtype
    assert relative_error(loss, expected) <= tolerance
    assert relative_error(dlogits, x.grad) <= tolerance
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=tolerance)


def test_far_apart_logits_neither_overflow_nor_vanish():
    logits = np.array([[1e4, 0.0, -1e4]])
    loss, dlogits = losses.softmax_cross_entropy(logits, np.array([2]))
    assert loss == 2e4
    np.testing.assert_array_equal(dlogits, [[1, 0, -1]])


@pytest.mark.parametrize("labels", [[1, 0], np.array([1, 0], np.uint8), np.array([1, 0], np.int32)])
def test_any_integers_are_labels(labels):
    logits = np.array([[0.0, 1.0], [0.5, 0.0]])
    assert losses.softmax_cross_entropy(logits, labels)[0] == losses.softmax_cross_entropy(logits, np.array([1, 0]))[0]


@pytest.mark.parametrize("function", [losses.softmax_cross_entropy, lambda *args: losses.top_k_correct(*args, k=1)])
@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (np.zeros((2, 3)), [0, 3], ValueError, "labels: expected 0 to 2, got 3"),
        (np.zeros((2, 3)), [-1, 0], ValueError, "labels: expected 0 to 2, got -1"),
        (np.zeros((2, 3)), [0.0, 1.0], ValueError, "labels: expected 2 integers, got float64 of shape (2,)"),
        (np.zeros((2, 3)), [True, False], ValueError, "labels: expected 2 integers, got bool of shape (2,)"),
        (np.zeros((2, 3)), [0, 1, 2], ValueError, "labels: expected 2 integers, got int64 of shape (3,)"),
        (np.zeros((2, 3)), [[0], [1]], ValueError, "labels: expected 2 integers, got int64 of shape (2, 1)"),
        (np.zeros(3), [0], ValueError, "logits: expected (N, K), at least (1, 1), got (3,)"),
        (np.zeros((0, 3)), [], ValueError, "logits: expected (N, K), at least (1, 1), got (0, 3)"),
        (
            np.zeros((2, 3), int),
            [0, 1],
            TypeError,
            "logits: expected dtype float32 or float64 or complex128, got int64",
        ),
        ([[0.0, 1.0]], [0], TypeError, "logits: expected a NumPy or CuPy array, got list"),
        (torch.zeros(1, 2), [0], TypeError, "logits: expected a NumPy or CuPy array, got Tensor"),
    ],
)
def test_bad_input_meets_a_sentence(function, logits, labels, error, message):
    with pytest.raises(error) as caught:
        function(logits, labels)
    assert str(caught.value).partition(": ")[2] == message


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.0, float("nan")])
def test_label_smoothing_is_below_one(label_smoothing):
    with pytest.raises(ValueError, match=f"label_smoothing: expected 0 <= e < 1, got {label_smoothing}"):
        losses.softmax_cross_entropy(np.zeros((1, 2)), [0], label_smoothing)


def test_top_k_counts_the_labels_among_the_largest():
    logits = np.array([[0.1, 0.4, 0.2, 0.3], [4.0, 3.0, 2.0, 1.0], [0.0, -1.0, -2.0, -3.0]])
    labels = np.array([3, 3, 1])
    for k, expected in [(1, [0, 0, 0]), (2, [1, 0, 1]), (3, [1, 0, 1]), (4, [1, 1, 1])]:
        np.testing.assert_array_equal(losses.top_k_correct(logits, labels, k), expected)


def test_a_network_that_says_nothing_is_never_right():
    """Equal logits, NaN and infinity."""
    logits = np.array([[1.0, 1.0, 1.0], [np.nan, np.nan, np.nan], [np.inf, 0.0, 0.0]])
    np.testing.assert_array_equal(losses.top_k_correct(logits, np.array([0, 0, 0]), k=1), False)
