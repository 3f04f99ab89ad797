"""One figure of a training run: its curves, what the first layer looks for, what the network says of test pictures."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from .backend import to_numpy
from .data import Loader
from .files import written_whole
from .layers import Conv2d
from .models import Network
from .training import Epoch, probabilities

INK, GREY, BLUE, ORANGE, GREEN, RED = "#222222", "#8a8a8a", "#2f6db3", "#e07b27", "#2e8b57", "#c0392b"
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}
ROWS, COLUMNS = 3, 8  # of test pictures
SEARCHED = 500  # of them, for mistakes


def training_figure(
    path: str | os.PathLike[str],
    title: str,
    history: Sequence[Epoch],
    net: Network,
    images: np.ndarray,
    labels: Sequence[str],
    predicted: Sequence[str],
) -> None:
    """Draw a run and save it as PNG; the file appears whole or not at all.

    ``images`` (up to ROWS * COLUMNS of them are shown) are (N, H, W, 3) uint8; ``labels`` and
    ``predicted`` name their true classes and those that the network takes them for.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure: Any = Figure(figsize=(13, 8.6), layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.18), squeeze=False).flat
        left, right = above.subfigures(1, 2, width_ratios=(2.1, 1), squeeze=False).flat
        _curves(left, history)
        _filters(right, net, grey=bool((images == images[..., :1]).all()))
        _pictures(below, images[: ROWS * COLUMNS], labels, predicted)
        with written_whole(path) as unfinished:
            figure.savefig(unfinished, format="png", dpi=120)


def sample(net: Network, test: Loader) -> tuple[np.ndarray, list[str], list[str]]:
    """Test pictures for ``training_figure``, their classes, and the network's; the last are mistakes, if there are."""
    chosen = np.random.default_rng(0).permutation(len(test.dataset))[:SEARCHED]
    dataset = test.dataset.subset(chosen)
    batches = Loader(dataset, test.preparation, test.batch_size).batches()
    predicted = np.concatenate([probabilities(net, images).argmax(axis=1) for images, _ in batches])
    wrong = np.flatnonzero(predicted != dataset.labels)[:COLUMNS]
    right = np.flatnonzero(predicted == dataset.labels)[: ROWS * COLUMNS - len(wrong)]
    shown = np.concatenate([right, wrong])
    images = np.stack([test.preparation.for_testing(dataset.image(i)) for i in shown])
    return images, [dataset.classes[dataset.labels[i]] for i in shown], [dataset.classes[predicted[i]] for i in shown]


def _curves(figure: Any, history: Sequence[Epoch]) -> None:
    epochs = [row.epoch for row in history]
    for axes, name, title, factor in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy, %"), (1, 100), strict=True
    ):
        for part, colour in (("train", BLUE), ("test", ORANGE)):
            values = [factor * getattr(row, f"{part}_{name}") for row in history]
            axes.plot(
                epochs, values, color=colour, marker="o", markersize=3.5, linewidth=1.8, label=part, clip_on=False
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, 100 if name == "accuracy" else 1.05 * axes.get_ylim()[1])
        axes.grid(axis="y", color="#e8e8e8")
        axes.legend()


def _filters(figure: Any, net: Network, grey: bool) -> None:
    """The first convolution's kernels as small pictures, each stretched to its own range.

    For ``grey`` pictures the three colours of a kernel are added: that is all that such pictures see of it.
    """
    first = next(layer for _, layer in net.walk() if isinstance(layer, Conv2d))
    kernels = to_numpy(first.weight.data).transpose(3, 0, 1, 2)  # (O, KH, KW, 3)
    if grey:
        kernels = kernels.sum(axis=3, keepdims=True)  # (O, KH, KW, 1)
    low, high = (extreme(kernels, axis=(1, 2, 3), keepdims=True) for extreme in (np.min, np.max))
    kernels = (kernels - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    O, KH, KW, _ = kernels.shape
    columns = 8 if O <= 64 else 12
    rows = -(-O // columns)
    sheet = np.ones((rows * (KH + 1) - 1, columns * (KW + 1) - 1, 3))  # a white line between two
    for number, kernel in enumerate(kernels):
        row, column = divmod(number, columns)
        sheet[row * (KH + 1) :, column * (KW + 1) :][:KH, :KW] = kernel
    axes = figure.subplots()
    axes.imshow(sheet, interpolation="nearest")
    axes.set_title(f"The first layer's {O} filters, {KH}x{KW}")
    axes.axis("off")


def _pictures(figure: Any, images: np.ndarray, labels: Sequence[str], predicted: Sequence[str]) -> None:
    title = "Test pictures and what the network takes them for, mistakes in red"
    figure.suptitle(title, x=0.012, ha="left", fontsize=11, fontweight="bold")
    grid = figure.subplots(ROWS, COLUMNS).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, label, guess in zip(grid, images, labels, predicted, strict=False):
        axes.imshow(image)
        right = guess == label
        line_end = " " if len(guess + label) < 12 else "\n"
        text = shorten(guess) if right else f"{shorten(guess)}{line_end}(is {shorten(label)})"
        axes.set_title(text, color=GREEN if right else RED, fontsize=9, loc="center", pad=3)


def shorten(name: str, width: int = 18) -> str:
    """A class name that fits above its picture."""
    return name if len(name) <= width else f"{name[: width - 3]}..."
