"""Where a training step of this project's cpu engine goes, layer by layer, and how exact the layers are.

    python -m benchmarks profile
    ALEXNET_NP_NUM_THREADS=1 python -m benchmarks profile

Times are medians over training steps, of a layer with what is fused to it. The bound is what its matrix products would
take at the rate at which this engine multiplies matrices that stay in the first caches. Errors are relative
L2 errors against float64, of each layer alone on standard normal images, weights and gradients.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from alexnet_np.kernels.cpu import gemm, threads, winograd
from alexnet_np.kernels.cpu.simd import PANEL, ROWS

from alexnet_np import backend, layers, losses, models, optim
from alexnet_np.layers.fused import Fused, fused

from . import problem, report

STEPS = 8
IMAGES_FOR_ERRORS = 2


@dataclass
class Part:
    """A step of the network, what goes into it, how it multiplies where it has weights, and how long it took."""

    step: Any
    shape: tuple[int, ...]
    name: str
    algorithm: str = ""
    products: float = 0  # multiplications of a forward
    first: bool = False
    forward: list[float] = field(default_factory=list)  # seconds in every training step
    backward: list[float] = field(default_factory=list)

    @property
    def layer(self) -> Any:
        return self.step.layer if isinstance(self.step, Fused) else self.step


def text(N: int) -> str:
    """The table, for batches of N images."""
    net = models.alexnet()
    parts = list(_parts(net, N))
    others = _train(net, parts, N)
    rate = _products_per_second()
    rows, least, total = [], 0.0, sum(map(_typical, others.values()))
    for part in parts:
        forward, backward = _typical(part.forward), _typical(part.backward)
        total += forward + backward
        if not part.products and not isinstance(part.layer, layers.Dropout):
            continue
        # Backward has two gradients, and the images need none.
        bounds = part.products / rate, part.products * (1 if part.first else 2) / rate
        least += sum(bounds)
        errors = [f"{error:.1e}" if error else "-" for error in _errors(part)] if part.products else ["", "", ""]
        shown = [report.ms(bound) if part.products else "" for bound in bounds]
        rows.append([part.name, part.algorithm, report.ms(forward), shown[0], report.ms(backward), shown[1], *errors])
    rows += [[name, "", report.ms(_typical(seconds)), *[""] * 6] for name, seconds in others.items()]
    header = ["", "", "forward ms", "bound", "backward ms", "bound", "error of y", "dx", "dw"]
    step, gflops = report.ms(total), f"{2 * rate / 1e9:.0f} GFLOP/s"
    end = f"a step takes {step} ms, its products at least {report.ms(least)} ms at {gflops}"
    return f"{report.table(header, rows)}\n\nbatch {N}, {threads.NUM_THREADS} thread(s): {end}"


def _parts(net: models.Network, N: int) -> Iterator[Part]:
    names = iter(layer.name for layer in problem.LAYERS if layer.w)
    shape: tuple[int, ...] = (N, 224, 224, 3)
    for step in fused(layer for _, layer in net.walk()):
        part = Part(step, shape, type(step).__name__)
        if part.layer.parameters():
            part.name, part.first = next(names), len(shape) == 4 and shape[3] == 3
            part.algorithm, part.products = _products(part.layer, shape)
        elif isinstance(step, layers.Dropout):
            part.name = f"dropout of {shape[1]}"
        shape = part.layer.output_shape(shape)
        if isinstance(step, Fused) and step.pool is not None:
            part.name += ", pooling"
            shape = step.pool.output_shape(shape)
        yield part


def _products(layer: Any, shape: tuple[int, ...]) -> tuple[str, float]:
    """The algorithm, and the multiplications in its matrix products."""
    if isinstance(layer, layers.Linear):
        return "", layer.macs(shape)
    if layer.algorithm(shape) == "im2col":
        return "im2col", layer.macs(shape)
    N, OH, OW, O = layer.output_shape(shape)
    S = layer.stride[0]
    r, C = -(-layer.kernel_size[0] // S), S * S * layer.in_channels
    m, T, TH, TW = winograd.tiling(OH, OW, r)
    return f"F({m}, {r})", N * TH * TW * T**2 * C * O


def _train(net: models.Network, parts: list[Part], N: int) -> dict[str, list[float]]:
    """Training steps, timed part by part; returns the seconds of what else belongs to them, loss and SGD."""
    x, labels = problem.batch(N)
    sgd = optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    others: dict[str, list[float]] = {"loss": [], "SGD": []}

    def timed(times: list[float], function: Callable[..., Any], *arguments: Any) -> Any:
        start = perf_counter()
        result = function(*arguments)
        times.append(perf_counter() - start)
        return result

    for _ in range(STEPS):
        y = x
        for part in parts:
            y = timed(part.forward, part.step.forward, y, True)
        _, dy = timed(others["loss"], losses.softmax_cross_entropy, y, labels)
        for parameter in net.parameters():  # as Network.backward does
            parameter.grad = None
        for part in reversed(parts):
            dy = timed(part.backward, part.step.backward, dy, False, not part.first)
        timed(others["SGD"], sgd.step)
    return others


def _typical(seconds: list[float]) -> float:
    return median(seconds[1:])  # the first compiles


def _products_per_second() -> float:
    """Multiplications a second, on all threads, of matrices that stay in the first caches."""
    M, K, times = 20 * ROWS, 256, 80
    a, b = np.ones(M * K, np.float32), np.ones(K * PANEL, np.float32)

    def work(c: np.ndarray, edge: np.ndarray) -> None:
        for _ in range(times):
            gemm.multiply(a, 0, K, b, 0, K * PANEL, PANEL, c, 0, PANEL, M, PANEL, K, False, edge)

    tasks = [(np.empty(M * PANEL, np.float32), gemm.edge_buffer()) for _ in range(threads.NUM_THREADS)]
    seconds = []
    for _ in range(10):
        start = perf_counter()
        threads.run(work, tasks)
        seconds.append(perf_counter() - start)
    return threads.NUM_THREADS * times * M * K * PANEL / min(seconds)


def _errors(part: Part) -> Iterator[float | None]:
    """Of y, dx (None for the first layer) and dw."""
    rng = np.random.default_rng(0)
    layer, shape = part.layer, (IMAGES_FOR_ERRORS, *part.shape[1:])
    x, w = (rng.standard_normal(size, dtype=np.float32) for size in (shape, layer.weight.data.shape))
    dy = rng.standard_normal(layer.output_shape(shape), dtype=np.float32)
    options = (layer.stride, layer.padding) if isinstance(layer, layers.Conv2d) else ()

    def run(book: Any, dtype: str) -> tuple[Any, ...]:
        y, saved = getattr(book, f"{layer.kernel}_forward")(x.astype(dtype), w.astype(dtype), None, *options)
        dx, dw, _ = getattr(book, f"{layer.kernel}_backward")(dy.astype(dtype), saved, not part.first)
        return y, dx, dw

    algorithm = "im2col" if part.algorithm == "im2col" else "winograd"
    found = run(backend.get("cpu", algorithm).kernels, "float32")
    for a, b in zip(found, run(backend.get("reference").kernels, "float64"), strict=True):
        yield None if a is None else float(np.linalg.norm(a - b) / np.linalg.norm(b))
