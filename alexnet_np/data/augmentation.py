"""What happens to training pictures at random, and ten crops for the test: the paper's of 2012 and today's.

Pictures are (H, W, 3), 0 to 255: uint8 as long as pixels are only moved, float32 once colours have changed.
What is random is drawn from the generator that is handed in. ``drawn`` functions are torchvision's transforms of the
same name, the others its functional forms, in the same formulas.

Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 4.1;
random resized crops: Szegedy et al., Going Deeper with Convolutions, 2014, section 6;
colour jitter: Howard, Some Improvements on Deep Convolutional Neural Network Based Image Classification, 2013.
"""

from collections.abc import Iterable
from math import exp, log, sqrt

import numpy as np

from .geometry import centre_crop, crop, flip, stretch

GREY = np.array([0.2989, 0.587, 0.114], np.float32)  # how bright red, green and blue look: ITU-R BT.601

# ImageNet's principal colours, RGB, 0 to 255: a row each, as long as the standard deviation along it; from
# cuda-convnet2 (2014), the 2012 code's successor. The figures in most recipes (0.2175, 0.0188, 0.0045) are the
# variances of a 0 to 1 scale, taken for standard deviations: noise of about half this strength.
IMAGENET_COLOURS = (
    (68.6243, 70.1678, 72.0942),
    (26.4323, 0.8733, -26.0101),
    (-8.2424, 16.1115, -7.8353),
)

Moments = tuple[int, np.ndarray, np.ndarray]
TOGETHER = 1_000_000  # pixels that colour_moments takes at a time

# ---- pixels moved


def random_crop(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A square of ``size`` pixels anywhere. A view."""
    H, W, _ = image.shape
    return crop(image, *draw_square(H, W, size, rng))


def draw_square(H: int, W: int, size: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, height, width."""
    return int(rng.integers(H - size + 1)), int(rng.integers(W - size + 1)), size, size


def random_resized_crop(
    image: np.ndarray,
    size: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """A rectangle of a share ``scale`` of the picture and of width : height within ``ratio``, made a square."""
    H, W, _ = image.shape
    return stretch(crop(image, *draw_rectangle(H, W, scale, ratio, rng)), size, size)


def draw_rectangle(
    H: int, W: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height, width. Where ten draws do not fit into the picture: the largest in the middle that does."""
    for _ in range(10):
        area = H * W * rng.uniform(*scale)
        width_to_height = exp(rng.uniform(log(ratio[0]), log(ratio[1])))
        height, width = round(sqrt(area / width_to_height)), round(sqrt(area * width_to_height))
        if 0 < height <= H and 0 < width <= W:
            return int(rng.integers(H - height + 1)), int(rng.integers(W - width + 1)), height, width
    width_to_height = min(max(W / H, ratio[0]), ratio[1])
    height, width = min(H, round(W / width_to_height)), min(W, round(H * width_to_height))
    return (H - height) // 2, (W - width) // 2, height, width


def ten_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The four corners and the centre, then those of the mirrored picture: (10, size, size, 3)."""
    H, W, _ = image.shape
    crops = []
    for view in (image, flip(image)):
        crops += [crop(view, top, left, size, size) for top in (0, H - size) for left in (0, W - size)]
        crops.append(centre_crop(view, size))
    return np.stack(crops)


# ---- colours changed


def grey(image: np.ndarray) -> np.ndarray:
    """How bright each pixel looks, (H, W, 1)."""
    return (image @ GREY)[..., None]


def blend(image: np.ndarray, other: np.ndarray | float, factor: float) -> np.ndarray:
    """``factor`` of the picture, the rest of another: 1 is the picture, 0 the other, above 1 away from the other."""
    return np.clip(factor * image + (1 - factor) * other, 0, 255)


def adjust_brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Between black (0), the picture (1) and brighter ones."""
    return blend(image, 0.0, factor)


def adjust_contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Between an even grey of the picture's brightness (0), the picture (1) and ones of more contrast."""
    return blend(image, grey(image).mean(), factor)


def adjust_saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Between the picture without colours (0), the picture (1) and more colourful ones."""
    return blend(image, grey(image), factor)


def adjust_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """All colours moved along the colour circle by a part ``turn`` of it, -0.5 to 0.5; greys stay.

    In HSV: value v = max(r, g, b); chroma c = v - min(r, g, b); the hue h, in sixths of the circle, is the
    distance from the largest colour, ((g - b)/c, 2 + (b - r)/c or 4 + (r - g)/c). Back again, each colour is
    v - c max(0, min(1, k, 4 - k)) with k = (n + h) mod 6 and n = 5, 3, 1 for r, g, b.
    """
    r, g, b = np.ascontiguousarray(image.transpose(2, 0, 1))  # three planes (H, W), four times as fast as (H, W, 3)
    value = np.maximum(np.maximum(r, g), b)
    chroma = value - np.minimum(np.minimum(r, g), b)
    c = np.where(chroma == 0, 1, chroma)  # greys have no hue: any will do
    h = np.where(value == r, (g - b) / c, np.where(value == g, 2 + (b - r) / c, 4 + (r - g) / c)) + 6 * turn
    turned = np.empty_like(image)
    for colour, n in enumerate((5, 3, 1)):
        k = h + n
        k -= 6 * np.floor(k / 6)
        turned[..., colour] = value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1)
    return turned


def colour_jitter(
    image: np.ndarray, brightness: float, contrast: float, saturation: float, hue: float, rng: np.random.Generator
) -> np.ndarray:
    """The four in random order, each by a random factor 1 - b to 1 + b (at least 0), the hue by -h to h. float32."""
    image = image.astype(np.float32)
    factors = [rng.uniform(max(0, 1 - strength), 1 + strength) for strength in (brightness, contrast, saturation)]
    turn = rng.uniform(-hue, hue)
    for step in rng.permutation(4):
        if step == 0 and brightness:
            image = adjust_brightness(image, factors[0])
        elif step == 1 and contrast:
            image = adjust_contrast(image, factors[1])
        elif step == 2 and saturation:
            image = adjust_saturation(image, factors[2])
        elif step == 3 and hue:
            image = adjust_hue(image, turn)
    return image


def colour_noise(
    image: np.ndarray, strength: float, colours: Iterable[Iterable[float]], rng: np.random.Generator
) -> np.ndarray:
    """The paper's: one colour added to the whole picture, drawn along the data's principal ``colours``. float32.

    A row each of ``colours`` (3, 3) times a normal number of standard deviation ``strength``, 0.1 in the paper. Their
    lengths are standard deviations, as in the authors' code; the paper's text says eigenvalues, which are
    the squares and, in this scale, would drown every picture. Nothing is cut off below 0 and above 255.
    """
    added = rng.normal(0, strength, 3) @ np.asarray(colours)
    return image.astype(np.float32) + added.astype(np.float32)


# ---- statistics of a data set


def principal_colours(moments: Iterable[Moments]) -> tuple[tuple[float, ...], ...]:
    """The directions in which the colours of all pixels vary, for ``colour_noise``; the longest first.

    ``moments`` are those of each image: ``colour_moments``. With the covariance of (r, g, b),
    C = E[c c'] - E[c] E[c]' = V diag(s²) V': the columns of V, times s.
    """
    pixels, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for number, of_image, products_of_image in moments:
        pixels += number
        total += of_image
        products += products_of_image
    if pixels == 0:
        raise ValueError("principal_colours: images: expected at least one, got none")
    mean = total / pixels
    variances, directions = np.linalg.eigh(products / pixels - np.outer(mean, mean))  # ascending
    rows = (directions * np.sqrt(np.maximum(variances, 0))).T[::-1]
    rows *= np.where(rows.sum(axis=1, keepdims=True) < 0, -1, 1)  # a sign that does not depend on the LAPACK at hand
    return tuple(tuple(round(float(x), 4) for x in row) for row in rows)


def colour_moments(image: np.ndarray) -> Moments:
    """Of the colours c of an image (H, W, 3): the number of pixels, the sum of c (3,) and of c c' (3, 3)."""
    total, products = np.zeros(3), np.zeros((3, 3))
    rows = max(1, TOGETHER // max(1, image.shape[1]))
    for top in range(0, len(image), rows):  # as float64 an image takes eight times its memory
        colours = image[top : top + rows].reshape(-1, 3).astype(np.float64)
        total += colours.sum(axis=0)
        products += colours.T @ colours
    return image.shape[0] * image.shape[1], total, products


def mean_image(images: Iterable[np.ndarray]) -> np.ndarray:
    """The mean of pictures of one shape, pixel by pixel, (H, W, 3) float32."""
    number, total = 0, np.zeros(())
    for image in images:
        number, total = number + 1, total + image
    if number == 0:
        raise ValueError("mean_image: images: expected at least one, got none")
    return (total / number).astype(np.float32)
