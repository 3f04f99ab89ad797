"""Every kernel at every kind of geometry: what the suite runs over, for each book."""

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import gpu_on_host
import numpy as np

from alexnet_np import backend
from alexnet_np.gradcheck import kink_free


@dataclass(frozen=True)
class Case:
    """A pair of kernels and what they are given: arrays of these shapes (None stays None), and options."""

    op: str
    shapes: tuple[tuple[int, ...] | None, ...]
    options: dict[str, Any] = field(default_factory=dict)
    batched: bool = True  # the images of a batch do not see each other

    @property
    def size(self) -> int:
        """Of all arrays together."""
        return sum(prod(shape) for shape in self.shapes if shape)

    def arrays(self, dtype: Any = "float64", seed: int = 0, N: int | None = None) -> list[Any]:
        """Random arrays; the first, x, without ties or entries close to 0. ``N`` images instead of the case's own."""
        rng = np.random.default_rng(seed)
        x_shape, *others = self.shapes
        x = kink_free(x_shape if N is None else (N, *x_shape[1:]), rng)
        rest = [None if shape is None else rng.standard_normal(shape) for shape in others]
        return [None if array is None else array.astype(dtype) for array in (x, *rest)]

    def forward(self, book: Any, *arrays: Any) -> tuple[Any, Any]:
        """y and what is saved. Options that are functions are called: a new generator each time."""
        options = {name: option() if callable(option) else option for name, option in self.options.items()}
        return getattr(book, f"{self.op}_forward")(*arrays, **options)

    def backward(self, book: Any, dy: Any, saved: Any) -> tuple[Any, ...]:
        """A gradient for each array, None for None."""
        grads = getattr(book, f"{self.op}_backward")(dy, saved)
        return grads if isinstance(grads, tuple) else (grads,)

    def run(self, book: Any, arrays: list[Any], dy: Any = None) -> list[Any]:
        """y and all gradients, for this dy or a random one."""
        y, saved = self.forward(book, *arrays)
        return [y, *self.backward(book, self.dy(y) if dy is None else dy, saved)]

    @staticmethod
    def dy(y: Any, seed: int = 100) -> Any:
        """A random dy for a result."""
        return np.asarray(np.random.default_rng(seed).standard_normal(y.shape), y.dtype)


CONV = {
    "in groups, padded unevenly": ((2, 7, 6, 4), (3, 2, 2, 6), (6,), (2, 1), ((0, 2), (1, 0)), 2),
    "pixels left over": ((3, 8, 9, 3), (2, 3, 3, 5), (5,), (3, 2), 1, 1),
    "1x1, no bias": ((2, 3, 5, 4), (1, 1, 4, 3), None, 1, 0, 1),
    "padded beyond the kernel": ((2, 2, 3, 3), (3, 2, 3, 2), (2,), 1, (4, 3), 1),
    "a group for each channel": ((2, 5, 4, 3), (3, 3, 1, 6), (6,), (1, 2), 1, 3),
    "one pixel": ((1, 1, 1, 2), (3, 5, 2, 3), (3,), 1, (1, 2), 1),
    "more images than at once": ((18, 3, 4, 2), (2, 2, 2, 3), (3,), 1, 0, 1),
    # AlexNet's kinds, with the channels that vector instructions take whole
    "11x11 by 4": ((2, 23, 19, 3), (11, 11, 3, 32), (32,), 4, 2, 1),
    "11x11 by 4, padded at the end": ((2, 16, 20, 3), (11, 11, 3, 32), (32,), 4, ((0, 3), (0, 3)), 1),
    "5x5": ((2, 9, 7, 32), (5, 5, 32, 32), (32,), 1, 2, 1),
    "5x5, padded unevenly, no bias": ((1, 6, 9, 32), (5, 5, 32, 64), None, 1, ((3, 0), (1, 2)), 1),
    "5x5 in two groups": ((1, 4, 5, 64), (5, 5, 32, 64), (64,), 1, 2, 2),
    "3x3": ((2, 7, 8, 64), (3, 3, 64, 32), (32,), 1, 1, 1),
    "3x3 in two groups": ((1, 4, 6, 64), (3, 3, 32, 64), (64,), 1, 1, 2),
    "3x3, channels of no vector": ((2, 4, 6, 33), (3, 3, 33, 17), (17,), 1, 1, 1),
}

LINEAR = {
    "a batch": ((5, 7), (7, 3), (3,)),
    "one image": ((1, 40), (40, 33), (33,)),
    "no bias": ((6, 5), (5, 5), None),
    "blocks and a rest": ((11, 270), (270, 530), (530,)),
}

POOL = {
    "overlapping": ((2, 9, 7, 3), 3, 2, 0, False),
    "apart, pixels left over": ((2, 8, 10, 2), (2, 3), (3, 4), 0, False),
    "padded": ((2, 6, 8, 3), 3, (2, 3), 1, False),
    "padded unevenly, over the end": ((2, 7, 6, 3), (3, 2), (2, 3), ((1, 0), (0, 1)), True),
    "over the end": ((1, 8, 6, 2), 3, 2, 0, True),
    "default stride": ((3, 7, 5, 4), (3, 2), None, (1, 0), False),
    "the whole image": ((2, 3, 4, 2), (3, 4), 1, 0, False),
    "whole vectors": ((3, 13, 11, 64), 3, 2, 0, False),
}

# The name of a convolution, and what max_pool2d takes behind it.
CONV_POOL = {
    "pixels left over": (2,),
    "padded beyond the kernel": ((3, 2), (2, 3), ((1, 0), (0, 1)), True),
    "one pixel": (1, 1),
    "11x11 by 4": (3, 2),
    "5x5, padded unevenly, no bias": (3, 2, 1),
    "3x3": (3, 2, 0, True),
    "3x3, channels of no vector": (3, 2),
}

LRN = {
    "torch's alpha": ((2, 3, 2, 7), {"size": 5, "alpha": 0.7, "beta": 0.75, "k": 2.0}),
    "the paper's alpha": ((2, 2, 3, 8), {"size": 5, "alpha": 0.3, "k": 2.0, "divide_alpha": False}),
    "even size": ((2, 3, 2, 6), {"size": 4, "alpha": 0.9, "beta": 0.6}),
    "fewer channels than the size": ((1, 2, 3, 3), {"size": 7, "alpha": 1.5}),
    "in groups": ((2, 3, 2, 6), {"size": 3, "alpha": 1.2, "groups": 2}),
    "over space": ((2, 5, 4, 3), {"size": 3, "alpha": 2.0, "across": "space"}),
    "over space, even size": ((1, 3, 6, 2), {"size": 4, "alpha": 2.0, "beta": 1.3, "across": "space"}),
}

AVG = {
    "dividing": ((2, 6, 4, 3), (3, 2)),
    "overlapping cells": ((2, 7, 5, 3), (4, 2)),
    "larger than the image": ((2, 4, 3, 2), 6),
    "as large": ((2, 6, 6, 3), (6, 6)),
    "one cell": ((3, 5, 4, 2), 1),
}


BOOKS = {
    "reference": backend.get("reference").kernels,
    "cpu": backend.get("cpu").kernels,
    "cpu, winograd": backend.get("cpu", "winograd").kernels,
    "cpu, im2col": backend.get("cpu", "im2col").kernels,
}
if not gpu_on_host.problem():
    BOOKS["gpu, emulated"] = gpu_on_host.install().kernels


def _cases() -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for name, (x, w, b, stride, padding, groups) in CONV.items():
        case = Case("conv2d", (x, w, b), {"stride": stride, "padding": padding, "groups": groups})
        cases[f"conv2d: {name}"] = case
        if "padded" in name or name == "3x3":
            cases[f"conv2d_relu: {name}"] = replace(case, op="conv2d_relu")
    for name, pool in CONV_POOL.items():
        case = cases[f"conv2d: {name}"]
        pooled = replace(case, op="conv2d_relu_max_pool2d", options=case.options | {"pool": pool})
        cases[f"{pooled.op}: {name}"] = pooled
        if name == "3x3":
            cases[f"{pooled.op}: {name}, all ties"] = replace(pooled, options=case.options | {"pool": (*pool, "all")})
    for name, shapes in LINEAR.items():
        for op in ("linear", "linear_relu"):
            cases[f"{op}: {name}"] = Case(op, shapes)
    for name, (x, kernel, stride, padding, ceil_mode) in POOL.items():
        options = {"kernel_size": kernel, "stride": stride, "padding": padding, "ceil_mode": ceil_mode}
        cases[f"max_pool2d: {name}"] = case = Case("max_pool2d", (x,), options)
        if "over" in name:
            cases[f"max_pool2d: {name}, all ties"] = replace(case, options=options | {"ties": "all"})
    for name, (x, size) in AVG.items():
        cases[f"adaptive_avg_pool2d: {name}"] = Case("adaptive_avg_pool2d", (x,), {"output_size": size})
    for name, (x, options) in LRN.items():
        cases[f"local_response_norm: {name}"] = Case("local_response_norm", (x,), options)
    for inverted in (True, False):
        options = {"p": 0.4, "rng": lambda: np.random.default_rng(7), "inverted": inverted}
        cases[f"dropout: inverted={inverted}"] = Case("dropout", ((3, 4, 5, 2),), options, batched=False)
    cases["relu: images"] = Case("relu", ((2, 3, 5, 4),))
    cases["relu: vectors"] = Case("relu", ((4, 9),))
    cases["softmax: rows"] = Case("softmax", ((4, 7),))
    cases["softmax: many classes"] = Case("softmax", ((2, 300),))
    for smoothing in (0.0, 0.2):
        options = {"labels": np.array([0, 4, 1, 1]), "label_smoothing": smoothing}
        cases[f"softmax_cross_entropy: smoothing {smoothing}"] = Case(
            "softmax_cross_entropy", ((4, 5),), options, False
        )
    options = {"labels": np.array([299, 0]), "label_smoothing": 0.1}
    cases["softmax_cross_entropy: many classes"] = Case("softmax_cross_entropy", ((2, 300),), options, False)
    return cases


def _new_in_their_book() -> dict[str, tuple[Any, Case]]:
    """Every book with the cases of its own functions: those it has from an earlier book are checked there."""
    pairs: dict[str, tuple[Any, Case]] = {}
    checked = set()
    for book_name, book in BOOKS.items():
        for name, case in CASES.items():
            functions = (name, getattr(book, f"{case.op}_forward"), getattr(book, f"{case.op}_backward"))
            if functions not in checked:
                pairs[f"{book_name}, {name}"] = book, case
            checked.add(functions)
    return pairs


CASES = _cases()
BOOKS_AND_CASES = _new_in_their_book()
