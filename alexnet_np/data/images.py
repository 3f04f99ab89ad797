"""Single pictures: decoded, resized, cropped, mirrored. All are (H, W, 3), uint8.

Resizing and the centre crop are torchvision's to the pixel: its published accuracies depend on them.
"""

import os
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 178_956_970  # of a resized picture; also Pillow's own limit for one that is to be decoded
ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


class PictureError(ValueError):
    """A picture that cannot be used: ``path`` says which, ``reason`` why."""

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path, self.reason = str(path), reason


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture in a file, as ``decode`` gives it. FileNotFoundError or PictureError."""
    return decode(read_bytes(path), path)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """What a file holds. FileNotFoundError or PictureError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}") from error
    except OSError as error:
        raise PictureError(path, f"cannot be read ({error.strerror})") from error


def decode(content: bytes, path: object) -> np.ndarray:
    """The picture in the content of a file, upright, in RGB; ``path`` is named where that fails. PictureError.

    Of an animation the first frame. What is transparent shows white. Of 16 bits the upper 8 stay: the
    range is kept, where Pillow's own conversion would cut off what is brighter than 255.
    """
    if not content:
        raise PictureError(path, "the file is empty")
    try:
        with Image.open(BytesIO(content)) as image:
            return np.asarray(_rgb(_upright(image)))
    except UnidentifiedImageError as error:
        raise PictureError(path, "is not an image that Pillow can read") from error
    except Exception as error:  # damaged files make decoders raise whatever there is: SyntaxError, struct.error, ...
        raise PictureError(path, f"cannot be decoded ({error or type(error).__name__})") from error


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF data raise whatever there is, too; the pixels are whole
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # grey in more than 8 bits
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError(f"grey values from {values.min()} to {values.max()}, where 16 bits were expected")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its values are floating-point numbers, whose range no rule fixes")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def resize(image: np.ndarray, shorter_side: int) -> np.ndarray:
    """Bilinear with antialiasing; the sides keep their proportion. ValueError where the longer one gets endless."""
    H, W, _ = image.shape
    short = min(H, W)
    if short == shorter_side:
        return image
    width, height = int(shorter_side * W / short), int(shorter_side * H / short)
    if width * height > MAX_PIXELS:
        raise ValueError(f"{W}x{H} pixels are too long and narrow to be resized to {width}x{height}")
    return stretch(image, height, width)


def stretch(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """To these sides, bilinear with antialiasing."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def crop(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """The rectangle from here. A view."""
    return image[top : top + height, left : left + width]


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The square of ``size`` pixels in the middle. A view."""
    H, W, _ = image.shape
    return crop(image, round((H - size) / 2), round((W - size) / 2), size, size)


def flip(image: np.ndarray) -> np.ndarray:
    """Left and right exchanged. A view; also of many pictures, (..., H, W, 3)."""
    return image[..., ::-1, :]


def oddities(content: bytes) -> list[str]:
    """What ``decode`` had to change or pass over in a picture that it can read: "grey", "CMYK", "16 bits", ..."""
    with Image.open(BytesIO(content)) as image:
        found = {
            "grey": image.mode in ("1", "L", "LA"),
            "CMYK": image.mode == "CMYK",
            "16 bits": image.mode.startswith("I"),
            "transparent": image.has_transparency_data,
        }
        try:
            found["animated"] = getattr(image, "n_frames", 1) > 1
        except Exception:  # see decode, which reads the first frame only
            found["damaged after the first frame"] = True
        try:
            found["turned by EXIF"] = image.getexif().get(ORIENTATION, 1) != 1
        except Exception:  # see _upright
            found["damaged EXIF data"] = True
    return [name for name, is_so in found.items() if is_so]
