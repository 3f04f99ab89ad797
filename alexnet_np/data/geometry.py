"""Arrays of images (H, W, 3): resized, cropped, flipped.

Resizing and the centre crop are torchvision's to the pixel: its published accuracies depend on them.
"""

import numpy as np
from PIL import Image

# A resized image may have as many pixels: Pillow has it in 4 bytes a pixel, its copies as an array take 3 and 3.
MAX_RESIZED = 64_000_000


def resize(image: np.ndarray, shorter_side: int) -> np.ndarray:
    """Bilinear with antialiasing; the sides keep their proportion. ValueError where the longer one gets endless."""
    H, W, _ = image.shape
    short = min(H, W)
    if short == shorter_side:
        return image
    width, height = int(shorter_side * W / short), int(shorter_side * H / short)
    if width * height > MAX_RESIZED:
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
    """Left and right exchanged. A view; also of many images, (..., H, W, 3)."""
    return image[..., ::-1, :]
