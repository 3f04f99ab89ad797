"""Single pictures: read, resized, cropped. All are (H, W, 3), uint8.

Resizing and the centre crop are torchvision's to the pixel: its published accuracies depend on them.
"""

import os

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def read(path: str | os.PathLike[str]) -> np.ndarray:
    """The picture in a file, upright, in RGB. FileNotFoundError, or ValueError where it cannot be decoded."""
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file {path}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: is not an image that Pillow can read") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # what damaged files raise
        raise ValueError(f"{path}: cannot be decoded ({error})") from error


def resize(image: np.ndarray, shorter_side: int) -> np.ndarray:
    """Bilinear with antialiasing; the sides keep their proportion."""
    H, W, _ = image.shape
    short = min(H, W)
    if short == shorter_side:
        return image
    size = (int(shorter_side * W / short), int(shorter_side * H / short))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def centre_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The square of ``size`` pixels in the middle."""
    H, W, _ = image.shape
    return crop(image, round((H - size) / 2), round((W - size) / 2), size)


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of ``size`` pixels anywhere."""
    H, W, _ = image.shape
    return crop(image, rng.integers(H - size + 1), rng.integers(W - size + 1), size)


def crop(image: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    """The square of ``size`` pixels from here. A view."""
    return image[top : top + size, left : left + size]


def flip(image: np.ndarray) -> np.ndarray:
    """Left and right exchanged. A view."""
    return image[:, ::-1]
