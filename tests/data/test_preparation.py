"""What happens to a picture before a network sees it."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from alexnet_np.data import AUGMENTATIONS, Preparation, augmentation, geometry, mean_image

PHOTOGRAPHS, FIGURES = Preparation.photographs(56), Preparation.figures(64)


def picture(H, W):
    return np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)


def test_photographs_are_cut_from_a_picture_that_is_an_eighth_larger():
    assert (Preparation.photographs().size, Preparation.photographs().resize) == (224, 256)
    assert (PHOTOGRAPHS.size, PHOTOGRAPHS.resize) == (56, 64)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20), st.integers(0, 5))
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_squares_of_the_size_come_out_of_any_picture(augment, H, W, size, more):
    preparation = replace(Preparation.photographs(size), resize=size + more).augmented(augment)
    rng = np.random.default_rng(0)
    square = (size, size, 3)
    assert preparation.for_testing(picture(H, W)).shape == square
    assert preparation.for_training(picture(H, W), rng).shape == square
    assert preparation.ten_crops(picture(H, W)).shape == (10, *square)
    assert preparation.normalise(preparation.for_training(picture(H, W), rng)).dtype == np.float32


def test_photographs_are_mirrored_half_of_the_time_and_figures_never():
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    rng = np.random.default_rng(0)
    mirrored = [PHOTOGRAPHS.for_training(halves, rng)[0, 0, 0] > 0 for _ in range(200)]
    assert 70 < sum(mirrored) < 130
    for augment in AUGMENTATIONS:
        figures = replace(FIGURES.augmented(augment), crop="random", hue=0)
        assert all(figures.for_training(halves, rng)[0, :2].mean() < 100 for _ in range(20))


def test_without_augmentation_training_pictures_are_those_of_the_test():
    preparation, image = PHOTOGRAPHS.augmented("none"), picture(70, 91)
    for seed in range(5):
        trained = preparation.for_training(image, np.random.default_rng(seed))
        np.testing.assert_array_equal(trained, preparation.for_testing(image))


def test_the_papers_augmentation_is_crop_and_flip_and_a_colour():
    preparation, image = PHOTOGRAPHS.augmented("paper"), picture(70, 91)
    rng = np.random.default_rng(5)
    plain = replace(preparation, colour_noise=0).for_training(image, rng)
    expected = augmentation.colour_noise(plain, 0.1, augmentation.IMAGENET_COLOURS, rng)
    np.testing.assert_array_equal(preparation.for_training(image, np.random.default_rng(5)), expected)
    assert not np.array_equal(plain, expected)


def test_ten_crops_are_cut_from_the_square_in_the_middle():
    image = picture(128, 64)  # resizing leaves it alone
    crops = PHOTOGRAPHS.ten_crops(image)
    np.testing.assert_array_equal(crops[0], image[32:88, :56])
    np.testing.assert_array_equal(crops[3], image[40:96, 8:])
    np.testing.assert_array_equal(crops[4], PHOTOGRAPHS.for_testing(image))
    np.testing.assert_array_equal(crops[5], geometry.flip(crops[1]))


def test_normalise_is_the_formula_for_each_colour():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)
    expected = (pictures / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    for given_as in (pictures, pictures.astype(np.float32)):
        normalised = PHOTOGRAPHS.normalise(given_as)
        assert normalised.dtype == np.float32
        np.testing.assert_allclose(normalised, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(given_as, pictures)  # not written to
    np.testing.assert_array_equal(PHOTOGRAPHS.normalise(geometry.flip(pictures)), geometry.flip(normalised))


class TestMeanImage:
    def test_its_centre_is_subtracted_from_every_square(self, tmp_path):
        mean = np.random.default_rng(1).uniform(0, 255, (8, 8, 3))
        np.save(tmp_path / "mean.npy", mean)
        preparation = Preparation(6, 8, True, (0.5,) * 3, (0.2, 0.25, 0.5), mean_image=str(tmp_path / "mean.npy"))
        squares = np.stack([picture(6, 6), picture(6, 6)[::-1]])
        expected = (squares - mean[1:7, 1:7]) / (255 * np.array([0.2, 0.25, 0.5]))
        np.testing.assert_allclose(preparation.normalise(squares), expected, atol=1e-5)

    def test_one_that_does_not_fit_is_refused_in_a_sentence(self, tmp_path):
        path = tmp_path / "mean.npy"
        preparation = replace(PHOTOGRAPHS, mean_image=str(path))
        with pytest.raises(FileNotFoundError, match="mean_image: there is no file"):
            preparation.normalise(picture(56, 56))
        path.write_text("no array")
        with pytest.raises(ValueError, match=r"mean\.npy cannot be read as \.npy"):
            preparation.normalise(picture(56, 56))
        np.save(path, np.zeros((5, 7, 3)))
        with pytest.raises(ValueError, match=r"expected \(64, 64, 3\) in .*mean\.npy, got \(5, 7, 3\)"):
            preparation.normalise(picture(56, 56))

    def test_a_file_that_is_written_anew_is_read_anew(self, tmp_path):
        path = tmp_path / "mean.npy"
        for level in (100, 101):
            np.save(path, np.full((64, 64, 3), level, np.float32))
            assert (mean_image.read(str(path), 64) == level).all()

    @pytest.mark.parametrize("length", [None, 90])
    def test_an_archive_is_refused_in_a_sentence(self, tmp_path, length):
        path = tmp_path / "mean.npz"
        np.savez(path, np.zeros((64, 64, 3)))
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(ValueError, match=r"mean\.npz cannot be read as \.npy \(it is a \.npz"):
            replace(PHOTOGRAPHS, mean_image=str(path)).normalise(picture(56, 56))


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_a_preparation_comes_back_from_json(augment):
    preparation = PHOTOGRAPHS.augmented(augment)
    again = Preparation(**json.loads(json.dumps(asdict(preparation))))
    assert again == preparation
    assert hash(again) == hash(preparation)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 65}, "size: expected 1 to resize, 64, got 65"),
        ({"crop": "left"}, "crop: expected random, resized, centre, got 'left'"),
        ({"scale": [0.5, 0.1]}, "scale: expected two shares"),
        ({"scale": [0, 1]}, "scale: expected two shares"),
        ({"ratio": [2]}, "ratio: expected two numbers"),
        ({"hue": 0.6}, "hue: expected 0 to 0.5"),
        ({"contrast": -0.1}, "contrast: expected a number of at least 0, got -0.1"),
        ({"colour_noise": float("nan")}, "colour_noise: expected a number of at least 0, got nan"),
        ({"principal_colours": [[1, 2, 3]]}, "principal_colours: expected 3 rows of 3 numbers"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_a_sentence(values, message):
    with pytest.raises(ValueError, match=message):
        replace(PHOTOGRAPHS, **values)


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match="augment: expected none, crop, paper, modern, got 'much'"):
        PHOTOGRAPHS.augmented("much")


def test_numbers_of_numpys_become_pythons():
    """What a program has computed can be written as JSON."""
    numbers = replace(PHOTOGRAPHS, mean=np.array(PHOTOGRAPHS.mean), size=np.int64(56), hue=np.float32(0.25))
    assert json.loads(json.dumps(asdict(numbers))) == json.loads(json.dumps(asdict(replace(PHOTOGRAPHS, hue=0.25))))
    assert numbers == replace(PHOTOGRAPHS, hue=0.25)


@pytest.mark.parametrize("changes", [{"mean": (1e39, 0, 0)}, {"std": (1e-44, 1, 1)}, {"std": (1e-60, 1, 1)}])
def test_numbers_that_float32_does_not_have_are_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        replace(PHOTOGRAPHS, **changes)


def test_a_number_that_no_float_has_is_refused():
    with pytest.raises(ValueError, match="mean: expected a number for each"):
        replace(PHOTOGRAPHS, mean=(10**400, 0, 0))
