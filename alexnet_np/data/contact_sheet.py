"""One picture and what augmentation makes of it, a row for each kind: to be looked at before a training run."""

import os
from typing import Any

import numpy as np

from .. import drawing
from . import augmentation
from .geometry import crop, resize, stretch
from .preparation import Preparation

VERSIONS = 6  # of the picture in each row
WIDTH, HEIGHT = 11.0, 1.9  # inches of a row
COLOURS = ("#2f6db3", "#e07b27", "#2e8b57", "#c0392b", "#8e5bb5", "#c9a400")  # of the rectangles that are cut out

Cell = tuple[np.ndarray, str]  # a picture, 0 to 255, and what stands below it


def contact_sheet(
    path: str | os.PathLike[str], image: np.ndarray, preparation: Preparation, title: str, seed: int = 0
) -> None:
    """Draw the sheet and save it as PNG; the file appears whole or not at all. ``image`` (H, W, 3) uint8."""
    square = preparation.for_testing(image)
    rng = np.random.default_rng(seed)
    source, rectangles = _rectangles(image, preparation, rng)
    rows = _rows(square, preparation, rng)
    together = [preparation.for_training(image, np.random.default_rng((seed, k))) for k in range(VERSIONS)]
    mirrored = ", half of the time mirrored" if preparation.mirror else ""
    rows.append(
        (f"All together{mirrored}: what training sees", [(square, "what the test sees"), *((t, "") for t in together)])
    )
    with drawing.figure(
        path, title, (WIDTH, HEIGHT * (len(rows) + 1) + 0.5), drawing.Letters([title]), dpi=100
    ) as drawn:
        parts = drawn.subfigures(len(rows) + 1, 1, squeeze=False).flat
        _draw_crops(parts[0], source, rectangles, preparation)
        for part, (name, cells) in zip(parts[1:], rows, strict=True):
            for axes, (picture, text) in zip(_row(part, name), cells, strict=True):
                axes.imshow(np.clip(picture / 255, 0, 1))
                axes.set_xlabel(text, fontsize=9)


def _row(figure: Any, name: str) -> Any:
    figure.suptitle(name, x=0.012, ha="left", fontsize=11, fontweight="bold")
    row = figure.subplots(1, VERSIONS + 1)
    for axes in row:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return row


def _draw_crops(figure: Any, source: np.ndarray, rectangles: list[Any], preparation: Preparation) -> None:
    """The picture with the rectangles that are cut out of it, and these."""
    from matplotlib.patches import Rectangle

    size = preparation.size
    H, W, _ = source.shape
    names = {
        "random": f"Random crop: {size}x{size} of a picture whose shorter side is {preparation.resize}",
        "resized": f"Random resized crop: {_percent(preparation.scale)} of the picture, width : height "
        f"{preparation.ratio[0]:.2f} to {preparation.ratio[1]:.2f}, made {size}x{size}",
        "centre": f"Centre crop: {size}x{size} of a picture whose shorter side is {preparation.resize}",
    }
    whole, *cut_out = _row(figure, names[preparation.crop])
    whole.imshow(source)
    whole.set_xlabel(f"original, {W}x{H}" if preparation.crop == "resized" else f"resized to {W}x{H}", fontsize=9)
    for axes, (top, left, height, width), colour in zip(cut_out, rectangles, COLOURS, strict=True):
        whole.add_patch(Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=1.5))
        axes.imshow(stretch(crop(source, top, left, height, width), size, size))
        axes.set_xlabel(f"{width}x{height} at {left}, {top}", fontsize=9, color=colour)
        axes.spines[:].set(visible=True, color=colour, linewidth=2)


def _rectangles(
    image: np.ndarray, preparation: Preparation, rng: np.random.Generator
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """What crops are cut from, and where."""
    if preparation.crop == "resized":
        H, W, _ = image.shape
        draws = range(VERSIONS)
        return image, [augmentation.draw_rectangle(H, W, preparation.scale, preparation.ratio, rng) for _ in draws]
    size = preparation.size
    image = resize(image, preparation.resize)
    H, W, _ = image.shape
    if preparation.crop == "random":
        return image, [augmentation.draw_square(H, W, size, rng) for _ in range(VERSIONS)]
    return image, [(round((H - size) / 2), round((W - size) / 2), size, size)] * VERSIONS


def _rows(square: np.ndarray, preparation: Preparation, rng: np.random.Generator) -> list[tuple[str, list[Cell]]]:
    """Name and cells, the first the square as it was, of each kind of change that the preparation has."""
    p, rows = preparation, []
    original: Cell = (square, "original")
    colours = square.astype(np.float32)
    for name in ("brightness", "contrast", "saturation"):
        if strength := getattr(p, name):
            adjust = getattr(augmentation, f"adjust_{name}")
            low, high = max(0, 1 - strength), 1 + strength
            cells = [(adjust(colours, factor), f"x {factor:.2f}") for factor in np.linspace(low, high, VERSIONS)]
            rows.append((f"{name.capitalize()} {strength:g}: a factor of {low:g} to {high:g}", [original, *cells]))
    if p.hue:
        turns = np.linspace(-p.hue, p.hue, VERSIONS)
        cells = [(augmentation.adjust_hue(colours, turn), f"{360 * turn:+.0f}°") for turn in turns]
        rows.append((f"Hue {p.hue:g}: up to {360 * p.hue:.0f}° of the colour circle either way", [original, *cells]))
    if p.colour_noise:
        cells = []
        for _ in range(VERSIONS):
            noisy = augmentation.colour_noise(colours, p.colour_noise, p.principal_colours, rng)
            r, g, b = (noisy - colours)[0, 0]
            cells.append((noisy, f"{r:+.0f}, {g:+.0f}, {b:+.0f}"))
        rows.append(
            (f"Colour noise {p.colour_noise:g} along the principal colours: red, green, blue", [original, *cells])
        )
    return rows


def _percent(shares: tuple[float, float]) -> str:
    return f"{100 * shares[0]:g} to {100 * shares[1]:g} %"
