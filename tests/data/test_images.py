"""Reading, resizing and cropping single pictures."""

import numpy as np
import pytest
from PIL import Image
from torchvision_import import import_torchvision

from alexnet_np.data import images


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(0, 256, (71, 113, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(71, 113, 3), (113, 71, 3), (20, 29, 3), (64, 90, 3)])
@pytest.mark.parametrize(("shorter_side", "size"), [(64, 56), (73, 64)])
def test_resize_and_centre_crop_are_torchvisions(shape, shorter_side, size):
    import_torchvision()
    from torchvision.transforms import functional

    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ours = images.centre_crop(images.resize(picture, shorter_side), size)
    resized = functional.resize(Image.fromarray(picture), shorter_side)  # bilinear with antialiasing on PIL's images
    np.testing.assert_array_equal(ours, np.asarray(functional.center_crop(resized, size)))


def test_a_random_crop_is_a_part_of_the_picture_and_reaches_every_edge(picture):
    rng = np.random.default_rng(1)
    picture = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9, 1).repeat(3, axis=2)
    corners = set()
    for _ in range(300):
        crop = images.random_crop(picture, 5, rng)
        top, left = divmod(int(crop[0, 0, 0]), 9)
        np.testing.assert_array_equal(crop, picture[top : top + 5, left : left + 5])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(3) for left in range(5)}


def test_flip_exchanges_left_and_right(picture):
    np.testing.assert_array_equal(images.flip(picture)[5, 0], picture[5, -1])
    np.testing.assert_array_equal(images.flip(images.flip(picture)), picture)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "LA"])
def test_every_mode_is_read_as_rgb(tmp_path, mode):
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(tmp_path / f"white.{suffix}")
    picture = images.read(tmp_path / f"white.{suffix}")
    assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
    assert (picture == 255).all()


def test_a_rotated_photograph_is_read_upright(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned by 90 degrees
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(images.read(tmp_path / "turned.png"), np.rot90(picture, k=-1))


def test_what_is_no_image_is_refused_in_a_sentence(tmp_path, picture):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    with pytest.raises(ValueError, match=r"text\.jpg: is not an image"):
        images.read(text)
    Image.fromarray(picture).save(tmp_path / "whole.png")
    cut = tmp_path / "cut.png"
    cut.write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cut\.png: cannot be decoded"):
        images.read(cut)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        images.read(tmp_path / "nowhere.png")
