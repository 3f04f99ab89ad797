"""What happens to a picture before a network sees it."""

import numpy as np
import pytest

from alexnet_np.data import Preparation

PHOTOGRAPHS, FIGURES = Preparation.photographs(56), Preparation.figures(64)


def test_photographs_are_cut_from_a_picture_that_is_an_eighth_larger():
    assert (Preparation.photographs().size, Preparation.photographs().resize) == (224, 256)
    assert (PHOTOGRAPHS.size, PHOTOGRAPHS.resize) == (56, 64)


@pytest.mark.parametrize("preparation", [PHOTOGRAPHS, FIGURES])
@pytest.mark.parametrize("shape", [(8, 8, 3), (70, 91, 3), (91, 70, 3)])
def test_squares_of_the_size_come_out(preparation, shape):
    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = (preparation.size, preparation.size, 3)
    assert preparation.for_testing(picture).shape == expected
    assert preparation.for_training(picture, np.random.default_rng(0)).shape == expected


def test_photographs_are_mirrored_half_of_the_time_and_figures_never():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 255
    rng = np.random.default_rng(0)
    mirrored = [preparation.for_training(picture, rng)[0, 0, 0] > 0 for preparation in [PHOTOGRAPHS] * 200]
    assert 70 < sum(mirrored) < 130
    assert all(FIGURES.for_training(picture, rng)[0, 0, 0] == 0 for _ in range(20))


def test_normalise_is_the_formula_for_each_colour():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    normalised = PHOTOGRAPHS.normalise(pictures)
    expected = (pictures / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    assert normalised.dtype == np.float32
    np.testing.assert_allclose(normalised, expected, rtol=0, atol=1e-6)
