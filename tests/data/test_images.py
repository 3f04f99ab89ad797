"""Reading, resizing and cropping single pictures."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from torchvision_import import import_torchvision

from alexnet_np.data import geometry, images


@pytest.fixture
def picture():
    return np.random.default_rng(3).integers(0, 256, (71, 113, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(71, 113, 3), (113, 71, 3), (20, 29, 3), (64, 90, 3)])
@pytest.mark.parametrize(("shorter_side", "size"), [(64, 56), (73, 64)])
def test_resize_and_centre_crop_are_torchvisions(shape, shorter_side, size):
    import_torchvision()
    from torchvision.transforms import functional

    picture = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    ours = geometry.centre_crop(geometry.resize(picture, shorter_side), size)
    resized = functional.resize(Image.fromarray(picture), shorter_side)  # bilinear with antialiasing on PIL's images
    np.testing.assert_array_equal(ours, np.asarray(functional.center_crop(resized, size)))


def test_flip_exchanges_left_and_right(picture):
    np.testing.assert_array_equal(geometry.flip(picture)[5, 0], picture[5, -1])
    np.testing.assert_array_equal(geometry.flip(geometry.flip(picture)), picture)


def encoded(image, suffix, **options):
    content = BytesIO()
    image.save(content, suffix, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("1", "png"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("CMYK", "tiff"), ("CMYK", "jpeg")],
)
def test_every_mode_is_read_as_rgb(mode, suffix):
    image = Image.new("RGB", (6, 4), (255, 255, 255))
    image.putpixel((2, 1), (0, 0, 0))
    picture = images.decode(encoded(image.convert(mode), suffix), "white")
    assert (picture.shape, picture.dtype) == ((4, 6, 3), np.uint8)
    if suffix != "jpeg":  # which smears the black pixel
        expected = np.full((4, 6, 3), 255)
        expected[1, 2] = 0
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_keep_their_range(suffix):
    values = np.random.default_rng(0).integers(0, 2**16, (5, 7), dtype=np.uint16)
    picture = images.decode(encoded(Image.fromarray(values), suffix), "grey")
    np.testing.assert_array_equal(picture, (values // 256)[..., None].repeat(3, axis=2))


def test_numbers_without_a_known_range_are_refused():
    for values, message in (
        (np.full((5, 7), 2**20, np.int32), "signed numbers"),
        (np.full((5, 7), 0.5, np.float32), "floating-point"),
    ):
        with pytest.raises(images.PictureError, match=f"odd: cannot be decoded .*{message}"):
            images.decode(encoded(Image.fromarray(values), "tiff"), "odd")


def test_what_is_transparent_shows_white():
    image = Image.new("RGBA", (3, 1), (200, 0, 0, 0))
    image.putpixel((1, 0), (200, 0, 0, 255))
    image.putpixel((2, 0), (200, 0, 0, 51))  # a fifth of the colour, four fifths of white
    picture = images.decode(encoded(image, "png"), "glass")
    assert picture.tolist() == [[[255, 255, 255], [200, 0, 0], [244, 204, 204]]]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 0, 200, 0])
    palette.putpixel((1, 0), 1)
    picture = images.decode(encoded(palette, "png", transparency=0), "palette")
    assert picture.tolist() == [[[255, 255, 255], [0, 200, 0]]]


@pytest.mark.parametrize("suffix", ["gif", "png", "tiff"])
def test_of_an_animation_the_first_frame_is_taken(suffix):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    picture = images.decode(encoded(frames[0], suffix, save_all=True, append_images=frames[1:]), "film")
    assert (picture == [255, 0, 0]).all()


def test_a_rotated_photograph_is_read_upright(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned by 90 degrees
    Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(images.read(tmp_path / "turned.png"), np.rot90(picture, k=-1))


def test_damaged_exif_data_do_no_harm_to_the_pixels():
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Maker", 0x011A: 72.0, 0x8769: {0x9000: b"0230", 0x9286: b"comment"}})
    whole = encoded(Image.fromarray(np.zeros((20, 30, 3), np.uint8)), "jpeg", exif=exif)
    start, length = whole.index(b"Exif\0\0") + 6, len(exif.tobytes()) - 6
    rng = np.random.default_rng(0)
    for _ in range(1000):  # about one in a hundred makes Pillow raise this or that
        damaged = bytearray(whole)
        for place in rng.integers(length, size=rng.integers(1, 6)):
            damaged[start + place] = rng.choice([0, 255, rng.integers(256)])
        assert sorted(images.decode(bytes(damaged), "photo").shape[:2]) == [20, 30]


def test_what_is_no_image_is_refused_in_a_sentence(tmp_path, picture):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    with pytest.raises(images.PictureError, match=r"text\.jpg: is not an image") as raised:
        images.read(text)
    assert (raised.value.path, raised.value.reason) == (
        str(text),
        "is not an image in BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP",
    )
    text.write_bytes(b"")
    with pytest.raises(images.PictureError, match=r"text\.jpg: the file is empty"):
        images.read(text)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        images.read(tmp_path / "nowhere.png")
    with pytest.raises(images.PictureError, match="cannot be read"):
        images.read(tmp_path)


def test_an_enormous_picture_is_refused():
    bomb = encoded(Image.new("1", (20_000, 20_000)), "png")
    assert len(bomb) < 100_000
    with pytest.raises(images.PictureError, match="400000000 pixels"):
        images.decode(bomb, "bomb")


def test_a_picture_that_resizing_would_make_enormous_is_refused():
    with pytest.raises(ValueError, match="10000x1 pixels are too long and narrow"):
        geometry.resize(np.zeros((1, 10_000, 3), np.uint8), 256)


@given(st.data())
@pytest.mark.parametrize("suffix", ["png", "jpeg", "gif", "tiff", "webp", "bmp"])
def test_a_damaged_file_gives_a_picture_or_a_picture_error(suffix, data):
    content = bytearray(encoded(Image.fromarray(np.arange(9 * 11 * 3, dtype=np.uint8).reshape(9, 11, 3)), suffix))
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        picture = images.decode(cut, "damaged")
    except images.PictureError:
        return
    assert (picture.dtype, picture.shape[2]) == (np.uint8, 3)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 9), st.data())
def test_any_picture_can_be_resized_and_cut(H, W, shorter_side, data):
    size = data.draw(st.integers(1, shorter_side))
    picture = np.random.default_rng(H * W).integers(0, 256, (H, W, 3), dtype=np.uint8)
    resized = geometry.resize(picture, shorter_side)
    assert min(resized.shape[:2]) == shorter_side
    assert max(resized.shape[:2]) == int(shorter_side * max(H, W) / min(H, W))
    assert geometry.centre_crop(resized, size).shape == (size, size, 3)
