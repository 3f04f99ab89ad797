"""Two figures of a training run.

The training figure has the curves, what the first layer looks for, and what the network says of test pictures;
the confusion figure what it takes each class for.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import drawing
from .backend import to_numpy
from .data import Loader
from .drawing import INK, Letters, shorten
from .layers import Container, Conv2d
from .metrics import Evaluation, probabilities
from .training import Epoch

BLUE, ORANGE, GREEN, RED = "#2f6db3", "#e07b27", "#2e8b57", "#c0392b"
ROWS, COLUMNS = 3, 8  # of test pictures
SEARCHED = 500  # of them, for mistakes
LABELLED = 30  # classes at most that a matrix names
BARS, MISTAKES = 20, 8


def training_figure(
    path: str | os.PathLike[str],
    title: str,
    history: Sequence[Epoch],
    kernels: np.ndarray,
    images: np.ndarray,
    labels: Sequence[str],
    predicted: Sequence[str],
) -> None:
    """Draw a run and save it as PNG; the file appears whole or not at all.

    ``kernels`` (O, KH, KW, 3 or 1) are those of ``first_kernels``. ``images`` (up to ROWS * COLUMNS of them
    are shown) are (N, H, W, 3) uint8; ``labels`` and ``predicted`` name their true classes and those that
    the network takes them for.
    """
    letters = Letters([title, *labels, *predicted])
    with drawing.figure(path, title, (13, 8.6), letters) as drawn:
        above, below = drawn.subfigures(2, 1, height_ratios=(1, 1.18), squeeze=False).flat
        left, right = above.subfigures(1, 2, width_ratios=(2.1, 1), squeeze=False).flat
        _curves(left, history)
        _filters(right, kernels)
        _pictures(below, images[: ROWS * COLUMNS], *(list(map(letters.text, names)) for names in (labels, predicted)))


def confusion_figure(path: str | os.PathLike[str], title: str, classes: Sequence[str], result: Evaluation) -> None:
    """Draw what the test pictures of each class were taken for, and save it as PNG; whole or not at all."""
    letters = Letters([title, *classes])
    classes = [letters.text(name) for name in classes]
    with drawing.figure(path, title, (13, 7.6), letters) as drawn:
        left, right = drawn.subfigures(1, 2, width_ratios=(1.45, 1), squeeze=False).flat
        _matrix(left, classes, result.confusion)
        above, below = right.subfigures(2, 1, height_ratios=(1.6, 1), squeeze=False).flat
        _class_bars(above, classes, result.class_accuracy)
        _mistake_bars(below, classes, result.confusion)


def sample(net: Container, test: Loader) -> tuple[np.ndarray, list[str], list[str]]:
    """Test pictures for ``training_figure``, their classes, and the network's; the last are mistakes, if there are."""
    chosen = np.random.default_rng(0).permutation(len(test.dataset))[:SEARCHED]
    dataset = test.dataset.subset(chosen)
    loader = Loader(dataset, test.preparation, test.batch_size)
    predicted = np.concatenate([probabilities(net, images).argmax(axis=1) for images, _ in loader.batches()])
    read = np.array([i for i in range(len(dataset)) if dataset.where(i) not in loader.skipped])
    right = predicted == dataset.labels[read]
    wrong = np.flatnonzero(~right)[:COLUMNS]
    shown = np.concatenate([np.flatnonzero(right)[: ROWS * COLUMNS - len(wrong)], wrong])
    indices, predicted = read[shown], predicted[shown]
    images = np.stack([test.preparation.for_testing(dataset.image(int(i))) for i in indices])
    classes = dataset.classes
    return images, [classes[label] for label in dataset.labels[indices]], [classes[label] for label in predicted]


def first_kernels(net: Container, images: np.ndarray) -> np.ndarray:
    """The first convolution's kernels, (O, KH, KW, 3), a copy.

    For grey ``images`` (N, H, W, 3) the three colours are added, (O, KH, KW, 1): that is all that such
    pictures see of a kernel.
    """
    first = next((layer for _, layer in net.walk() if isinstance(layer, Conv2d)), None)
    if first is None:
        raise ValueError(f"first_kernels: expected a network with a Conv2d, got {net.label} without one")
    kernels = to_numpy(first.weight.data).transpose(3, 0, 1, 2)  # (O, KH, KW, 3)
    grey = bool((images == images[..., :1]).all())
    return kernels.sum(axis=3, keepdims=True) if grey else kernels.copy()


def _title(part: Any, text: str) -> None:
    """Of a part of a figure, at its left edge, whatever stands there."""
    part.suptitle(text, x=0.012, ha="left", fontsize=11, fontweight="bold")


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
        axes.legend(loc="lower right" if name == "accuracy" else "upper right")


def _filters(figure: Any, kernels: np.ndarray) -> None:
    """The kernels as small pictures, each stretched to its own range."""
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
    _title(figure, "Test pictures and what the network takes them for, mistakes in red")
    grid = figure.subplots(ROWS, COLUMNS).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, image, label, guess in zip(grid, images, labels, predicted, strict=False):
        axes.imshow(image)
        right = guess == label
        line_end = " " if len(guess + label) < 12 else "\n"
        text = shorten(guess) if right else f"{shorten(guess)}{line_end}(is {shorten(label)})"
        axes.set_title(text, color=GREEN if right else RED, fontsize=9, loc="center", pad=3)


def _matrix(figure: Any, classes: Sequence[str], confusion: np.ndarray) -> None:
    """Shares of each row in shades; the counts, too, where there is room for them."""
    K = len(classes)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes = figure.subplots()
    # Shades of the square root, so that what is rare shows.
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title("What each class was taken for" + (", pictures" if K <= LABELLED else ", the darker the more often"))
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")
    axes.spines[:].set_visible(False)
    if K > LABELLED:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    names = [shorten(name, 12) for name in classes]
    axes.set_xticks(range(K), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(range(K), names)
    axes.tick_params(length=0)
    for row, column in zip(*np.nonzero(confusion), strict=True):
        colour = "white" if shares[row, column] > 0.3 else INK if row == column else RED
        axes.text(
            column,
            row,
            int(confusion[row, column]),
            color=colour,
            fontsize=9 if K <= 12 else 7,
            ha="center",
            va="center",
        )


def _class_bars(figure: Any, classes: Sequence[str], accuracy: np.ndarray) -> None:
    known = np.flatnonzero(np.isfinite(accuracy))
    shown = known[np.argsort(accuracy[known], kind="stable")][:BARS]
    _title(figure, f"Accuracy of the {len(shown)} hardest classes, %" if len(shown) < len(known) else "Accuracy, %")
    axes = figure.subplots()
    _bars(axes, [shorten(classes[k]) for k in shown], 100 * accuracy[shown], BLUE, "{:.1f}")
    axes.set_xlim(0, 108)  # with room for the values


def _mistake_bars(figure: Any, classes: Sequence[str], confusion: np.ndarray) -> None:
    mistakes = confusion * (1 - np.eye(len(classes), dtype=np.int64))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MISTAKES]
    pairs = [divmod(int(at), len(classes)) for at in order if mistakes.flat[at] > 0]
    names = [f"{shorten(classes[true])} taken for {shorten(classes[guess])}" for true, guess in pairs]
    _title(figure, "The most frequent mistakes, pictures" if pairs else "No mistakes")
    _bars(figure.subplots(), names, np.array([mistakes[pair] for pair in pairs]), ORANGE, "{:.0f}")


def _bars(axes: Any, names: Sequence[str], values: np.ndarray, colour: str, form: str) -> None:
    """Horizontal, the first at the top, each with its value at its end."""
    # By position: two classes may have the same short name.
    axes.barh(range(len(names)), values, color=colour, height=0.65)
    for at, value in enumerate(values):
        axes.annotate(form.format(value), (value, at), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
