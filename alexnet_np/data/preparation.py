"""What happens to a picture before a network sees it, in training and in the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, Self

import numpy as np

from ..augmentations import AUGMENTATIONS, CROPS
from . import augmentation, mean_image
from .geometry import centre_crop, flip, resize
from .mean_image import MeanImage

FLOAT32_MAX = float(np.finfo(np.float32).max)

# The means and standard deviations of ImageNet's red, green and blue, as torchvision's weights expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preparation:
    """Resized, cut to a square, normalised; in training the square lies anywhere, mirrored and in other colours.

    ``size`` is the square's side and ``resize`` the shorter side of the picture that it is cut from, in
    pixels. In the test it is cut from the middle. What only training pictures go through, in this order:

    crop                    "random": a square anywhere; "resized": a rectangle of a share ``scale`` of the
                            picture, of width : height within ``ratio``, made a square; "centre": as in the test
    mirror                  whether half of them are mirrored (a mirrored 2 is no 2)
    brightness, contrast,   0.4 is a random factor of 0.6 to 1.4, 0 leaves it alone; in random order
    saturation
    hue                     0.1 is a turn of up to a tenth of the colour circle to either side
    colour_noise            the paper's, 0.1 there, along ``principal_colours`` (3 rows of r, g, b, 0 to 255)

    ``mean`` and ``std`` of each colour are on a scale from 0 to 1. ``mean_image`` is the path of a .npy file,
    (resize, resize, 3) on a scale from 0 to 255, or a MeanImage, which needs no file: its centre is subtracted, pixel
    by pixel, in place of ``mean``, as in 2012.

    All values are plain: ``Preparation(**json.loads(json.dumps(asdict(preparation))))`` is the same again.
    """

    size: int
    resize: int
    mirror: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: str = "random"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (0.75, 4 / 3)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    colour_noise: float = 0.0
    principal_colours: tuple[tuple[float, ...], ...] = augmentation.IMAGENET_COLOURS
    mean_image: str | MeanImage | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))
        if isinstance(self.mean_image, Mapping):
            object.__setattr__(self, "mean_image", MeanImage(**self.mean_image))
        self._check_types()
        if not 1 <= self.size <= self.resize:
            raise ValueError(f"size: expected 1 to resize, {self.resize}, got {self.size}")
        if self.crop not in CROPS:
            raise ValueError(f"crop: expected {', '.join(CROPS)}, got {self.crop!r:.200}")
        if not (len(self.scale) == 2 and 0 < self.scale[0] <= self.scale[1] <= 1):
            raise ValueError(f"scale: expected two shares of a picture, the smaller first, got {self.scale!r:.200}")
        if not (len(self.ratio) == 2 and 0 < self.ratio[0] <= self.ratio[1]):
            raise ValueError(f"ratio: expected two numbers above 0, the smaller first, got {self.ratio!r:.200}")
        for name in ("brightness", "contrast", "saturation", "colour_noise"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected a number of at least 0, got {getattr(self, name)!r:.200}")
        if not 0 <= self.hue <= 0.5:
            raise ValueError(f"hue: expected 0 to 0.5, half of the colour circle, got {self.hue}")
        if np.shape(self.principal_colours) != (3, 3):
            raise ValueError(f"principal_colours: expected 3 rows of 3 numbers, got {self.principal_colours!r:.200}")
        if isinstance(self.mean_image, MeanImage) and self.mean_image.side != self.resize:
            raise ValueError(f"mean_image: expected {self.resize}x{self.resize} pixels, got {self.mean_image}")

    def _check_types(self) -> None:
        """What comes from a file may be of any type."""
        for name in ("size", "resize"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name}: expected a whole number of pixels, got {getattr(self, name)!r:.200}")
        if type(self.mirror) is not bool:
            raise ValueError(f"mirror: expected true or false, got {self.mirror!r:.200}")
        for name in ("brightness", "contrast", "saturation", "hue", "colour_noise"):
            if not _is_number(getattr(self, name)):
                raise ValueError(f"{name}: expected a number, got {getattr(self, name)!r:.200}")
        for name in ("mean", "std", "scale", "ratio"):
            if not _are_numbers(getattr(self, name)):
                raise ValueError(f"{name}: expected numbers, got {getattr(self, name)!r:.200}")
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3 or not all(map(_is_finite, getattr(self, name))):
                raise ValueError(
                    f"{name}: expected a number for each of red, green, blue, got {getattr(self, name)!r:.200}"
                )
        if min(self.std) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {self.std!r:.200}")
        with np.errstate(all="ignore"):
            mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
            factors = np.array([mean / std, 1 / (255 * std)])
        if not np.isfinite(factors).all() or not factors[1].all():
            expected = "expected numbers that float32 can divide by each other"
            raise ValueError(f"mean, std: {expected}, got {self.mean!r:.200}, {self.std!r:.200}")
        if not (isinstance(self.principal_colours, tuple) and all(map(_are_numbers, self.principal_colours))):
            raise ValueError(f"principal_colours: expected 3 rows of 3 numbers, got {self.principal_colours!r:.200}")
        if not isinstance(self.mean_image, str | MeanImage | None):
            raise ValueError(f"mean_image: expected a path or a MeanImage, got {self.mean_image!r:.200}")

    @classmethod
    def photographs(cls, size: int = 224) -> Self:
        """As for ImageNet: 224 pixels are cut from 256."""
        return cls(size, round(size * 256 / 224), True, IMAGENET_MEAN, IMAGENET_STD)

    @classmethod
    def figures(cls, size: int = 64) -> Self:
        """For small pictures of digits and the like: cut in the same proportion, brought to -1 ... 1."""
        return cls(size, round(size * 256 / 224), False, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

    def augmented(self, name: str) -> Self:
        """The same with what AUGMENTATIONS says under this name; what never is mirrored stays so."""
        if name not in AUGMENTATIONS:
            raise ValueError(f"augment: expected {', '.join(AUGMENTATIONS)}, got {name!r}")
        return replace(self, **AUGMENTATIONS[name])

    @property
    def changes_colours(self) -> bool:
        """Whether training pictures get other colours, which are no bytes any more."""
        return bool(self.brightness or self.contrast or self.saturation or self.hue or self.colour_noise)

    def for_training(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8 -> (size, size, 3), still 0 to 255; float32 where colours were changed, else uint8"""
        if self.crop == "resized":
            image = augmentation.random_resized_crop(image, self.size, self.scale, self.ratio, rng)
        elif self.crop == "random":
            image = augmentation.random_crop(resize(image, self.resize), self.size, rng)
        else:
            image = self.for_testing(image)
        if self.mirror and rng.random() < 0.5:
            image = flip(image)
        if self.brightness or self.contrast or self.saturation or self.hue:
            image = augmentation.colour_jitter(image, self.brightness, self.contrast, self.saturation, self.hue, rng)
        if self.colour_noise:
            image = augmentation.colour_noise(image, self.colour_noise, self.principal_colours, rng)
        return image

    def for_testing(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (size, size, 3), uint8"""
        return centre_crop(resize(image, self.resize), self.size)

    def ten_crops(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (10, size, size, 3), uint8: corners and centre of the square that is cut from, mirrored, too"""
        return augmentation.ten_crop(centre_crop(resize(image, self.resize), self.resize), self.size)

    def normalise(self, images: np.ndarray) -> np.ndarray:
        """(..., W, 3), 0 to 255 -> float32 (..., W, 3): (x/255 - mean) / std of each colour; or less the mean image."""
        *shape, W, C = images.shape
        std = np.array(self.std, np.float32)
        if self.mean_image is None:
            shift = np.tile(np.array(self.mean, np.float32) / std, W)  # (3 W,)
        else:
            mean = centre_crop(self._mean_image(), self.size)
            shift = (mean / (255 * std)).reshape(self.size, self.size * C)
        normalised = images.astype(np.float32, order="C")
        rows = normalised.reshape(*shape, W * C)  # a view: ten times as fast as pixel by pixel
        rows *= np.tile(1 / (255 * std), W)
        rows -= shift
        return normalised

    def with_mean_image(self) -> Self:
        """The same with the mean image itself in place of its path: what a file of weights carries. Errors: OSError."""
        if not isinstance(self.mean_image, str):
            return self
        return replace(self, mean_image=MeanImage.of(self._mean_image()))

    def in_words(self) -> str:
        """What is done to an image before the network sees it in a test: all that another program has to do."""
        cut = f"resize the shorter side to {self.resize} pixels; cut {self.size}x{self.size} pixels from the middle"
        if self.mean_image is None:
            return f"RGB; {cut}; values from 0 to 1; subtract {self.mean}; divide by {self.std}"
        std = tuple(round(255 * s, 6) for s in self.std)
        middle = f"the middle {self.size}x{self.size} pixels of the mean image ({self.resize}x{self.resize} pixels)"
        return f"RGB; {cut}; values from 0 to 255; subtract {middle}; divide by {std}"

    def _mean_image(self) -> np.ndarray:
        if isinstance(self.mean_image, MeanImage):
            return self.mean_image.pixels()
        assert self.mean_image is not None
        return mean_image.read(self.mean_image, self.resize)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_finite(value: float) -> bool:
    return -FLOAT32_MAX <= value <= FLOAT32_MAX  # nor is NaN


def _are_numbers(values: Any) -> bool:
    return isinstance(values, tuple) and all(map(_is_number, values))


def _plain(value: object) -> object:
    """Python's own numbers and tuples: JSON and TOML know lists only, and programs have arrays."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    elif isinstance(value, Real) and not isinstance(value, int | float):
        value = float(value)
    return tuple(map(_plain, value)) if isinstance(value, Sequence) and not isinstance(value, str) else value
