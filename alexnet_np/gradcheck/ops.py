"""This package's own ops and networks, checked at the geometries that break things."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain, product
from typing import Any

import numpy as np

from .. import backend as backends, models
from ..layers import (
    AdaptiveAvgPool2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    ReLU,
    Sequential,
    Softmax,
)
from . import float32
from .checks import check, check_function
from .kinks import kink_free
from .results import GradientError, Result, Row

METHODS: list[dict[str, Any]] = [{}, {"every_entry": True}, {"complex_step": True, "every_entry": True}]
NETWORK_METHODS: list[dict[str, Any]] = [{"tolerance": 1e-6}, {"complex_step": True}]

# Weights and images of sizes that let the images through to the results: with the paper's own (0.01, biases of 1) the
# first layers' slopes drown in rounding errors.
NETWORKS: list[tuple[str, Callable[[int], Any], tuple[int, ...], float]] = [
    ("alexnet", lambda seed: models.alexnet(10, seed=seed), (2, 67, 70, 3), 1.0),
    ("alexnet_keras", lambda seed: models.alexnet_keras(10, seed=seed), (1, 227, 227, 3), 8.0),
    ("alexnet_2012, paper", lambda seed: models.alexnet_2012("paper", 10, 0.5, seed, "keras"), (1, 224, 224, 3), 8.0),
    ("alexnet_2012, code", lambda seed: models.alexnet_2012("code", 10, 0.5, seed, "keras"), (1, 224, 224, 3), 8.0),
]


def report(device: str = "reference", networks: bool = False, seed: int = 0) -> Result:
    """Check every op on a device; with ``networks`` the three AlexNets, too (a minute and 5 GB).

    Gradients are compared with slopes in float64, for which "cpu" falls back to the reference kernels. On "cpu" and
    "gpu" the device's own float32 kernels are then compared with the reference in float64 ("float32 vs reference").

    A row for each op, tensor and method holds the worst of all geometries. Nothing is raised: ``Result.ok`` says
    whether all is right.
    """
    worst: dict[tuple[str, str, str], Row] = {}
    for row in chain(_rows(device, networks, seed), _rows_in_float32(device, seed) if device != "reference" else ()):
        key = (row.op, row.tensor, row.method)
        worst[key] = max(worst.get(key, row), row, key=lambda row: (row.verdict != "right", row.error / row.tolerance))
    return Result(list(worst.values()))


def _layers(rng: np.random.Generator) -> list[tuple[Any, tuple[int, ...]]]:
    """Every layer with the shape of an input: non-square, padded unevenly, not dividing, in groups."""
    return [
        (Linear(5, 3, rng=rng), (4, 5)),
        (Linear(4, 4, bias=False, rng=rng), (3, 4)),
        (Conv2d(4, 6, (3, 2), stride=(2, 1), padding=((0, 2), (1, 0)), groups=2, rng=rng), (2, 6, 5, 4)),
        (Conv2d(3, 2, (2, 3), stride=(3, 2), padding=1, rng=rng), (2, 6, 6, 3)),
        (Conv2d(2, 3, 3, padding=1, rng=rng), (2, 5, 6, 2)),
        (Conv2d(3, 3, 5, padding=2, groups=3, bias=False, rng=rng), (2, 4, 6, 3)),
        (Conv2d(1, 2, 11, stride=4, padding=2, rng=rng), (1, 12, 17, 1)),
        (Conv2d(2, 1, 2, padding=3, rng=rng), (2, 1, 2, 2)),
        (MaxPool2d(3, 2), (2, 8, 6, 3)),
        (MaxPool2d((3, 2), (2, 3), padding=((1, 0), (0, 1)), ceil_mode=True), (2, 7, 6, 3)),
        (MaxPool2d(2, 3, ties="all"), (2, 5, 7, 2)),
        (AdaptiveAvgPool2d((6, 6)), (2, 7, 5, 2)),
        (AdaptiveAvgPool2d((2, 3)), (2, 5, 3, 2)),
        (ReLU(), (2, 3, 4, 3)),
        (Softmax(), (3, 5)),
        (Dropout(0.4), (2, 3, 4, 3)),
        (Dropout(0.3, inverted=False), (5, 6)),
        (LocalResponseNorm(5, alpha=0.3, k=2, divide_alpha=False), (2, 2, 3, 7)),
        (LocalResponseNorm(4, alpha=0.5, beta=0.6, groups=2), (2, 2, 3, 6)),
        (LocalResponseNorm(3, alpha=2.0, across="space"), (2, 5, 4, 2)),
        (Flatten(), (2, 3, 4, 2)),
        (
            Sequential(
                Conv2d(3, 4, 3, stride=2, padding=1, rng=rng),
                ReLU(),
                LocalResponseNorm(3, alpha=0.5),
                MaxPool2d(2, 1),
                Flatten(),
                Dropout(0.2),
                Linear(24, 4, rng=rng),
            ),
            (2, 8, 6, 3),
        ),
    ]


def _rows(device: str, networks: bool, seed: int) -> Iterator[Row]:
    rng = np.random.default_rng(seed)
    for layer, shape in _layers(rng):
        x = kink_free(shape, rng)
        layer.to(device, "float64")
        for training, method in _ways(layer, METHODS):
            yield from _rows_of(type(layer).__name__, check, layer, (x,), training=training, **method)

    backend = backends.get(device)
    logits, labels = backend.asarray(rng.standard_normal((4, 5))), backend.asarray(np.array([0, 4, 1, 1]))
    for label_smoothing, method in product((0.0, 0.2), METHODS):
        inputs = (logits, labels, label_smoothing)
        yield from _rows_of("softmax_cross_entropy", check_function, *_loss(device), inputs, **method)

    for name, make, shape, size in NETWORKS if networks else ():
        net = make(seed).to(device, "float64")
        x = size * rng.standard_normal(shape)
        for training, method in _ways(net, NETWORK_METHODS):
            yield from _rows_of(name, check, net, (x,), training=training, together=True, **method)


def _rows_in_float32(device: str, seed: int) -> Iterator[Row]:
    """The device's kernels in float32 against the reference. A GPU draws masks of its own: none of them is compared."""
    rng = np.random.default_rng(seed)
    for layer, shape in [*_layers(rng), *float32.large_layers(rng)]:
        draws = any(isinstance(part, Dropout) for _, part in layer.walk())
        yield from float32.compare(layer, shape, device, training=draws and device != "gpu", seed=seed)
    for label_smoothing in (0.0, 0.2):
        rows = float32.compare(Loss(np.array([0, 4, 1, 1]), label_smoothing), (4, 5), device, seed=seed)
        yield from (replace(row, op="softmax_cross_entropy", tensor=LOSS_NAMES[row.tensor]) for row in rows)


LOSS_NAMES = {"y": "y", "x": "logits"}


class Loss:
    """The loss as an object with forward and backward, of the logits alone."""

    def __init__(self, labels: np.ndarray, label_smoothing: float) -> None:
        self.labels, self.label_smoothing = labels, label_smoothing

    def to(self, device: str, dtype: str, algorithm: str = "auto") -> "Loss":
        self.backend = backends.get(device, algorithm)
        return self

    def forward(self, logits: Any) -> Any:
        labels = self.backend.asarray(self.labels)
        y, self.saved = self.backend.kernels.softmax_cross_entropy_forward(logits, labels, self.label_smoothing)
        return y

    def backward(self, dy: Any) -> Any:
        return self.backend.kernels.softmax_cross_entropy_backward(dy, self.saved)


def _ways(layer: Any, methods: list[dict[str, Any]]) -> Iterator[tuple[bool, dict[str, Any]]]:
    """Outside training and in it, by each method. Complex steps are taken on "reference", which lacks a GPU's masks."""
    own_masks = layer.backend.device == "gpu" and any(isinstance(part, Dropout) for _, part in layer.walk())
    for training, method in product((False, True), methods):
        if not (training and own_masks and "complex_step" in method):
            yield training, method


def _rows_of(op: str, checking: Callable[..., Result], *args: Any, **options: Any) -> list[Row]:
    """The rows of a check, or a row for its error, under this name."""
    try:
        return [replace(row, op=op) for row in checking(*args, **options)]
    except GradientError as error:
        return [replace(error.row, op=op)]


def _loss(device: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The device's loss, forward and backward; complex numbers are for the reference backend."""
    kernels, reference = backends.get(device).kernels, backends.get("reference").kernels

    def forward(logits: Any, labels: Any, label_smoothing: float) -> Any:
        backend = reference if logits.dtype.kind == "c" else kernels
        return backend.softmax_cross_entropy_forward(logits, labels, label_smoothing)

    return forward, kernels.softmax_cross_entropy_backward
