"""A device's kernels in float32, compared with the reference backend in float64 at the same numbers.

Slopes need float64. "cpu" has no float64 kernels of its own: it falls back to the reference, so slopes say nothing of
its kernels. They are compared with the reference instead, whose gradients slopes have confirmed.

The tolerance comes from the numbers that are added up. A sum of K random terms, rounded after each, is off by about
eps * sqrt(K) of its size, eps = 1.2e-7 (Higham 2002, "Accuracy and Stability", chapter 4). So an entry may be off by

    eps * (32 + 8 sqrt(K))      times the root mean square of its tensor

and by eight times as much where a convolution may be computed by Winograd's algorithm: its transforms add and subtract
numbers that are larger than the result (docs/winograd.md).

K follows from the multiply-adds of forward, each of which is one summand of y, of dx and of dw: K = macs / size of the
tensor. The number 32 is for what is rounded otherwise, as exp. A term that is missing, or a wrong index, is off by more
than 1 / K in many entries: a thousand times as much.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np

from .. import backend as backends
from ..layers import Conv2d, Dropout, Flatten, Layer, Linear, MaxPool2d, ReLU, Sequential, Softmax
from .kinks import kink_free
from .layer import LayerProblem
from .problem import copies, generator
from .results import Row

METHOD = "float32 vs reference"
EPS = float(np.finfo(np.float32).eps)
DRAWS = 50  # of an input, until none of its activations is close to a kink
WINOGRAD = 8
ASIDE = 1e-5  # relative: where float32 may compute instead of at x
SAME_SIDE = 1e-2  # a gradient that changes more than this over ASIDE has met a kink

Arrays = dict[str, np.ndarray]
Shape = tuple[int, ...]


def large_layers(rng: np.random.Generator) -> list[tuple[Layer, Shape]]:
    """What takes the paths of fast kernels: AlexNet's kinds, random geometry, and layers that are computed together."""
    return [
        (Conv2d(3, 32, 11, stride=4, padding=2, rng=rng), (2, 39, 43, 3)),
        (Conv2d(32, 32, 5, padding=2, rng=rng), (4, 21, 22, 32)),
        (Conv2d(64, 32, 5, padding=2, groups=2, rng=rng), (2, 11, 9, 64)),
        (Conv2d(32, 64, 3, padding=1, rng=rng), (3, 26, 29, 32)),
        (Conv2d(33, 17, 3, padding=1, rng=rng), (4, 13, 13, 33)),
        *(_random_convolution(rng) for _ in range(6)),
        (Linear(270, 530, rng=rng), (11, 270)),
        (MaxPool2d(3, 2), (3, 13, 11, 64)),
        (ReLU(), (3, 40, 50, 7)),
        (Softmax(), (2, 300)),
        (Sequential(Conv2d(3, 32, 11, 4, 2, rng=rng), ReLU(inplace=True), MaxPool2d(3, 2)), (2, 39, 43, 3)),
        (Sequential(Conv2d(32, 32, 3, padding=1, rng=rng), ReLU(inplace=True), MaxPool2d(3, 2)), (3, 27, 28, 32)),
        (Sequential(Conv2d(32, 32, 3, padding=1, rng=rng), ReLU(inplace=True)), (2, 13, 13, 32)),
        (Sequential(Flatten(), Linear(72, 40, rng=rng), ReLU(inplace=True), Dropout(0.5)), (6, 3, 3, 8)),
    ]


def _random_convolution(rng: np.random.Generator) -> tuple[Layer, Shape]:
    """Any kernel, stride, padding and groups, of images that hold a window."""
    groups, C, O = int(rng.integers(1, 4)), int(rng.integers(1, 20)), int(rng.integers(1, 20))
    KH, KW, SH, SW = map(int, [*rng.integers(1, 6, 2), *rng.integers(1, 4, 2)])
    top, bottom, left, right = map(int, rng.integers(0, 4, 4))
    padding = ((top, bottom), (left, right))
    layer = Conv2d(groups * C, groups * O, (KH, KW), (SH, SW), padding, groups, bool(rng.integers(2)), rng=rng)
    N, more_rows, more_columns = int(rng.integers(1, 5)), int(rng.integers(12)), int(rng.integers(12))
    return layer, (N, KH + more_rows, KW + more_columns, groups * C)


def compare(layer: Any, shape: Shape, device: str, training: bool = False, seed: int = 0) -> list[Row]:
    """A row for y and for each gradient: the worst entry. Layers of every algorithm that the device has."""
    has_choice = device == "cpu" and any(isinstance(part, Conv2d) for part in _parts(layer))
    rows = []
    for algorithm in backends.ALGORITHMS if has_choice else ("auto",):
        layer.to(device, "float32", algorithm)
        op = type(layer).__name__ + ("" if algorithm == "auto" else f", {algorithm}")
        times = WINOGRAD if has_choice and algorithm != "im2col" else 1
        rows += list(_compare(layer, shape, training, seed, op, times))
    return rows


def _parts(layer: Any) -> list[Any]:
    return [part for _, part in layer.walk()] if isinstance(layer, Layer) else [layer]


def _compare(layer: Any, shape: Shape, training: bool, seed: int, op: str, times: int) -> Iterator[Row]:
    reference = deepcopy(layer).to("reference", "float64")
    for draw in range(DRAWS):
        rng = generator(seed, 3, draw)
        x = kink_free(shape, rng, "float32")
        y = _forward(reference, x.astype("float64"), training)
        dy = rng.standard_normal(y.shape).astype("float32")
        exact = _run(reference, x.astype("float64"), dy.astype("float64"), training)
        beside = x * (1 + ASIDE * rng.choice([-1.0, 1.0], shape))
        moved = _run(reference, beside, dy.astype("float64"), training)
        if all(_error(moved[name], exact[name]) < SAME_SIDE for name in exact):
            break
    found = _run(layer, x, dy, training)
    macs = max(_macs(layer, shape), x.size, y.size)
    for name, array in exact.items():
        tolerance = times * EPS * (32 + 8 * np.sqrt(macs / max(array.size, 1)))
        right_form = found[name].shape == array.shape and found[name].dtype == np.float32
        error = _error(found[name], array) if right_form else float("inf")
        yield Row(op, name, METHOD, tolerance, error, array.size, 0)


def _macs(layer: Any, shape: Shape) -> int:
    return int(layer.macs(shape)) if isinstance(layer, Layer) else 0


def _forward(layer: Any, x: np.ndarray, training: bool) -> np.ndarray:
    problem = LayerProblem(layer, [layer.backend.asarray(x)], training, x.dtype.name)
    return copies([problem.run_forward(layer.backend.asarray(x))])[0]


def _run(layer: Any, x: np.ndarray, dy: np.ndarray, training: bool) -> Arrays:
    """y and all gradients, in main memory."""
    on_device = layer.backend.asarray
    problem = LayerProblem(layer, [on_device(x)], training, x.dtype.name)
    try:
        y = problem.run_forward(on_device(x))
        return dict(zip(("y", *problem.names), copies([y, *problem.run_backward(on_device(dy))]), strict=True))
    finally:
        problem.restore()


def _error(found: np.ndarray, exact: np.ndarray) -> float:
    """The largest difference of an entry, relative to the root mean square of all."""
    size = float(np.sqrt((exact**2).mean())) if exact.size else 0.0
    error = float(np.abs(found - exact).max(initial=0)) / (size or 1.0)
    return error if np.isfinite(error) else float("inf")
