"""Augmentation: torchvision's results where it has them, the formulas where it has none, laws of geometry."""

from itertools import permutations
from math import log
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from torchvision_import import import_torchvision

from alexnet_np.data import augmentation, geometry

SIDES = st.integers(1, 40)


def picture(H, W, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (H, W, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def functional():
    import_torchvision()
    from torchvision.transforms import functional

    return functional


def of_torchvision(function, image, *arguments):
    """A functional transform of torchvision's on a float tensor, 0 to 1; back to (H, W, 3), 0 to 255."""
    import torch

    tensor = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)
    return 255 * function(tensor, *arguments).permute(1, 2, 0).numpy()


class TestColours:
    # Both compute in float32, on scales of 255 and of 1: no rounding to whole numbers, so closer than 1 of 255.
    @pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
    @pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
    def test_blends_are_torchvisions(self, functional, name, factor):
        image = picture(23, 31)
        ours = getattr(augmentation, f"adjust_{name}")(image.astype(np.float32), factor)
        theirs = of_torchvision(getattr(functional, f"adjust_{name}"), image, factor)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)

    @pytest.mark.parametrize("turn", [-0.5, -0.21, 0.0, 0.07, 0.33, 0.5])
    def test_hue_is_torchvisions(self, functional, turn):
        image = picture(23, 31)
        image[:3] //= 64  # many ties: two or three equal colours
        image[:3] *= 64
        ours = augmentation.adjust_hue(image.astype(np.float32), turn)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, of_torchvision(functional.adjust_hue, image, turn), rtol=0, atol=1e-3)

    def test_a_third_of_the_circle_makes_red_green(self):
        red = np.array([[[250, 20, 20]]], np.float32)
        np.testing.assert_allclose(augmentation.adjust_hue(red, 1 / 3), [[[20, 250, 20]]], atol=1e-3)

    @given(SIDES, SIDES, st.floats(-0.5, 0.5))
    def test_hue_turns_back_and_leaves_value_and_greys(self, H, W, turn):
        image = picture(H, W).astype(np.float32)
        turned = augmentation.adjust_hue(image, turn)
        np.testing.assert_allclose(turned.max(axis=2), image.max(axis=2), atol=1e-2)
        np.testing.assert_allclose(augmentation.adjust_hue(turned, -turn), image, atol=2e-2)
        grey = image[..., :1].repeat(3, axis=2)
        np.testing.assert_array_equal(augmentation.adjust_hue(grey, turn), grey)

    def test_jitter_stays_within_its_strengths_and_its_order_varies(self):
        image = np.full((2, 3, 3), 100, np.uint8)
        rng = np.random.default_rng(0)
        levels = [augmentation.colour_jitter(image, 0.4, 0, 0, 0, rng).mean() for _ in range(200)]
        assert 60 <= min(levels) < 65
        assert 135 < max(levels) <= 140
        # Where white cuts off what gets too bright, brightness and contrast do not commute: there are two results.
        image = picture(3, 4)
        results = set()
        for order in permutations(range(4)):
            rng = SimpleNamespace(uniform=lambda low, high: high, permutation=lambda n, order=order: order)
            results.add(augmentation.colour_jitter(image, 0.4, 0.4, 0, 0, rng).round(1).tobytes())
        assert len(results) == 2

    def test_jitter_of_no_strength_changes_nothing(self):
        image = picture(5, 7)
        jittered = augmentation.colour_jitter(image, 0, 0, 0, 0, np.random.default_rng(0))
        np.testing.assert_array_equal(jittered, image)


class TestColourNoise:
    COLOURS = ((30.0, 31.0, 33.0), (8.0, 1.0, -9.0), (-1.0, 3.0, -2.0))

    def test_one_colour_is_added_to_the_whole_picture(self):
        image = picture(5, 7)
        noise = augmentation.colour_noise(image, 0.1, self.COLOURS, np.random.default_rng(3)) - image
        draws = np.random.default_rng(3).normal(0, 0.1, 3)
        expected = sum(draw * np.array(colour) for draw, colour in zip(draws, self.COLOURS, strict=True))
        np.testing.assert_allclose(noise, np.broadcast_to(expected, (5, 7, 3)), atol=1e-4)

    def test_over_many_pictures_it_has_the_datas_covariance(self):
        rng = np.random.default_rng(0)
        black = np.zeros((1, 1, 3), np.uint8)
        noise = np.array([augmentation.colour_noise(black, 0.5, self.COLOURS, rng)[0, 0] for _ in range(4000)])
        expected = 0.25 * np.array(self.COLOURS).T @ np.array(self.COLOURS)
        np.testing.assert_allclose(np.cov(noise.T), expected, atol=0.06 * expected.max())

    def test_principal_colours_are_the_eigenvectors_of_the_covariance_of_all_pixels(self):
        pictures = [picture(5, 7, 1) // 2, picture(9, 4, 2)]
        pictures[1][..., 2] = pictures[1][..., 0]
        colours = np.array(augmentation.principal_colours(map(augmentation.colour_moments, pictures)))
        pixels = np.concatenate([image.reshape(-1, 3) for image in pictures])
        covariance = np.cov(pixels.T, bias=True)
        np.testing.assert_allclose(colours.T @ colours, covariance, atol=0.05)
        lengths = np.linalg.norm(colours, axis=1)
        assert lengths[0] > lengths[1] > lengths[2]
        np.testing.assert_allclose(covariance @ colours[0], lengths[0] ** 2 * colours[0], rtol=1e-3)

    def test_pictures_of_one_colour_vary_in_nothing(self):
        assert (
            augmentation.principal_colours([augmentation.colour_moments(np.full((4, 4, 3), 77, np.uint8))])
            == ((0.0,) * 3,) * 3
        )

    def test_imagenets_have_the_published_lengths_and_are_orthogonal(self):
        colours = np.array(augmentation.IMAGENET_COLOURS)
        np.testing.assert_allclose(np.linalg.norm(colours, axis=1), [121.7801, 37.0939, 19.7208], atol=2e-4)
        gram = colours @ colours.T
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=0.02)


class TestCrops:
    def test_a_random_crop_reaches_every_edge(self):
        rng = np.random.default_rng(1)
        numbered = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9, 1).repeat(3, axis=2)
        corners = set()
        for _ in range(300):
            crop = augmentation.random_crop(numbered, 5, rng)
            top, left = divmod(int(crop[0, 0, 0]), 9)
            np.testing.assert_array_equal(crop, numbered[top : top + 5, left : left + 5])
            corners.add((top, left))
        assert corners == {(top, left) for top in range(3) for left in range(5)}

    @pytest.mark.parametrize("shape", [(37, 53), (64, 20), (224, 225)])
    def test_a_resized_crop_is_torchvisions_to_the_bit(self, functional, shape):
        image = picture(*shape)
        for seed in range(5):
            rectangle = augmentation.draw_rectangle(*shape, (0.08, 1), (0.75, 4 / 3), np.random.default_rng(seed))
            ours = augmentation.random_resized_crop(image, 31, (0.08, 1), (0.75, 4 / 3), np.random.default_rng(seed))
            theirs = functional.resized_crop(Image.fromarray(image), *rectangle, [31, 31])
            np.testing.assert_array_equal(ours, np.asarray(theirs))

    @given(SIDES, SIDES, st.floats(0.01, 1), st.floats(0.2, 1), st.integers(0, 99))
    def test_a_rectangle_lies_in_the_picture(self, H, W, smallest, ratio, seed):
        rng = np.random.default_rng(seed)
        top, left, height, width = augmentation.draw_rectangle(H, W, (smallest, 1), (ratio, 1 / ratio), rng)
        assert 0 <= top < top + height <= H
        assert 0 <= left < left + width <= W

    def test_rectangles_have_the_areas_and_proportions_that_were_asked_for(self):
        rng = np.random.default_rng(0)
        drawn = [augmentation.draw_rectangle(400, 500, (0.1, 0.5), (0.5, 2), rng) for _ in range(300)]
        areas = [height * width / (400 * 500) for _, _, height, width in drawn]
        proportions = [log(width / height) for _, _, height, width in drawn]
        assert 0.099 < min(areas) < 0.12 < 0.45 < max(areas) < 0.501
        assert -0.7 < min(proportions) < -0.6
        assert 0.6 < max(proportions) < 0.7
        assert abs(np.mean(proportions)) < 0.06  # even in the logarithm
        assert len({top for top, *_ in drawn}) > 100

    @pytest.mark.parametrize("shape", [(4, 100), (100, 4), (1, 5), (5, 2), (3, 5)])
    def test_where_no_rectangle_fits_the_largest_in_the_middle_is_torchvisions(self, shape):
        import_torchvision()
        from torchvision.transforms import RandomResizedCrop

        image = Image.new("RGB", shape[::-1])
        ours = augmentation.draw_rectangle(*shape, (1, 1), (0.99, 1.01), np.random.default_rng(0))
        assert ours == RandomResizedCrop.get_params(image, [1, 1], [0.99, 1.01])

    @pytest.mark.parametrize("shape", [(17, 23), (23, 17), (12, 12)])
    def test_ten_crops_are_torchvisions_to_the_bit(self, functional, shape):
        image = picture(*shape)
        theirs = functional.ten_crop(Image.fromarray(image), [12, 12])
        np.testing.assert_array_equal(augmentation.ten_crop(image, 12), np.stack([np.asarray(crop) for crop in theirs]))

    def test_flip_is_torchvisions(self, functional):
        image = picture(5, 7)
        np.testing.assert_array_equal(geometry.flip(image), np.asarray(functional.hflip(Image.fromarray(image))))


def test_the_mean_image_is_the_mean_of_each_pixel():
    pictures = [picture(3, 5, seed) for seed in range(4)]
    mean = augmentation.mean_image(iter(pictures))
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.stack(pictures).mean(axis=0), rtol=1e-6)
    for function in (augmentation.mean_image, augmentation.principal_colours):
        with pytest.raises(ValueError, match="images: expected at least one, got none"):
            function([])
