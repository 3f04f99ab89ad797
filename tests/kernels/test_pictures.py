"""Pictures from bytes to numbers, in every book."""

import numpy as np
import pytest


@pytest.mark.parametrize("shape", [(2, 3, 4, 3), (5, 7, 3, 3), (1, 1, 1, 3), (2, 2, 3, 5, 3), (0, 4, 4, 3)])
def test_every_colour_has_its_mean_and_deviation(book, shape):
    x = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    x.flags.writeable = False
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.2, 0.75)
    y = book.normalise(x, mean, std)
    for c in range(3):
        np.testing.assert_allclose(y[..., c], (x[..., c] / 255 - mean[c]) / std[c], rtol=1e-5, atol=1e-6)
    assert (y.dtype, y.shape, y.flags.c_contiguous) == (np.float32, shape, True)


def test_pictures_that_do_not_lie_in_a_row(book):
    x = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)
    expected = book.normalise(x[:, ::-1].copy(), (0.5, 0.4, 0.3), (1, 1, 2))
    np.testing.assert_array_equal(book.normalise(x[:, ::-1], (0.5, 0.4, 0.3), (1, 1, 2)), expected)
