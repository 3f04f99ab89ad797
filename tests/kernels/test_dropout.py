"""Dropout: what stays, what it is multiplied by, and that backward remembers."""

import numpy as np
import pytest

SHAPE = (40, 5, 7, 3)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


def generator():
    return np.random.default_rng(11)


@dtypes
@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_elements_stay_with_probability_one_minus_p(book, p, inverted, dtype):
    """Those that do are scaled so that the mean is kept, or, as in 2012, not at all."""
    x = np.random.default_rng(0).uniform(1, 2, SHAPE).astype(dtype)
    y, _ = book.dropout_forward(x, p, generator(), inverted)
    kept = y != 0
    deviation = np.sqrt(p * (1 - p) / x.size)
    assert abs(kept.mean() - (1 - p)) < 4 * deviation
    np.testing.assert_allclose(y[kept], x[kept] / (1 - p) if inverted else x[kept], rtol=1e-6)
    assert y.dtype == dtype
    if inverted:
        assert y.mean() == pytest.approx(x.mean(), rel=0.1)


@dtypes
@pytest.mark.parametrize("inverted", [True, False])
def test_backward_has_forwards_mask_and_factor(book, inverted, dtype):
    """y and x, dx and dy have the same quotient everywhere."""
    rng = np.random.default_rng(0)
    x, dy = (rng.uniform(1, 2, SHAPE).astype(dtype) for _ in range(2))
    y, saved = book.dropout_forward(x, 0.3, generator(), inverted)
    dx = book.dropout_backward(dy, saved)
    np.testing.assert_allclose(dx / dy, y / x, rtol=1e-6)
    assert dx.dtype == dtype


@pytest.mark.parametrize("p", [0.0, 1.0])
@pytest.mark.parametrize("inverted", [True, False])
def test_nothing_or_everything_is_dropped(book, p, inverted):
    x = np.random.default_rng(0).standard_normal((3, 4))
    y, saved = book.dropout_forward(x, p, generator(), inverted)
    np.testing.assert_array_equal(y, x if p == 0 else 0 * x)
    np.testing.assert_array_equal(book.dropout_backward(x, saved), x if p == 0 else 0 * x)


def test_what_is_dropped_is_0_even_if_it_was_infinite(book):
    x = np.full((50, 4), np.inf)
    y, saved = book.dropout_forward(x, 0.5, generator())
    assert set(y.ravel()) == {0.0, np.inf}
    assert set(book.dropout_backward(x, saved).ravel()) == {0.0, np.inf}


def test_the_generator_decides(book):
    """The same state gives the same mask, in both dtypes; and the state moves on."""
    x = np.ones((6, 7))
    rng = generator()
    first, second = (book.dropout_forward(x, 0.5, rng)[0] for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(book.dropout_forward(x, 0.5, generator())[0], first)
    np.testing.assert_array_equal(book.dropout_forward(x.astype("float32"), 0.5, generator())[0], first)


def test_masks_are_those_of_the_reference_book(book):
    """Which elements stay is part of the definition: one float32 an element is drawn, and stays if it is at least p."""
    x = np.random.default_rng(0).standard_normal((5, 6, 7))
    drawn = generator().random(x.shape, dtype=np.float32)
    y, _ = book.dropout_forward(x, 0.25, generator())
    np.testing.assert_allclose(y, np.where(drawn >= 0.25, x / 0.75, 0), rtol=1e-12)
