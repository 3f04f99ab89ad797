"""What happens to a picture before a network sees it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from .images import centre_crop, flip, random_crop, resize

# The means and standard deviations of ImageNet's red, green and blue, as torchvision's weights expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preparation:
    """Resized, cut to a square, normalised; in training the square lies anywhere and may be mirrored.

    ``size`` is the square's side and ``resize`` the shorter side of the picture that it is cut from, in
    pixels; ``mirror`` says whether half of the training pictures are mirrored (a mirrored 2 is no 2).
    """

    size: int
    resize: int
    mirror: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def photographs(cls, size: int = 224) -> Self:
        """As for ImageNet: 224 pixels are cut from 256."""
        return cls(size, round(size * 256 / 224), True, IMAGENET_MEAN, IMAGENET_STD)

    @classmethod
    def figures(cls, size: int = 64) -> Self:
        """For small pictures of digits and the like: cut in the same proportion, brought to -1 ... 1."""
        return cls(size, round(size * 256 / 224), False, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def for_training(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) -> (size, size, 3), uint8"""
        image = random_crop(resize(image, self.resize), self.size, rng)
        return flip(image) if self.mirror and rng.random() < 0.5 else image

    def for_testing(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (size, size, 3), uint8"""
        return centre_crop(resize(image, self.resize), self.size)

    def normalise(self, images: np.ndarray) -> np.ndarray:
        """uint8 (..., 3) -> float32 (..., 3): (x/255 - mean) / std of each colour."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        normalised = images.astype(np.float32)
        normalised *= 1 / (255 * std)
        normalised -= mean / std
        return normalised
