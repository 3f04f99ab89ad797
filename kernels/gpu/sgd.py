"""The optimiser's step on a GPU: sgd.cu. One launch, and one pass over memory, for a whole list of parameters."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import reference
from ..array_module import array_module
from ..reference import checks
from .launch import BLOCK, TYPES, address, has_kernel, launch

MOST = 32  # parameters in a launch; as in sgd.cu
PARAMETERS = np.dtype([("w", "u8", MOST), ("g", "u8", MOST), ("v", "u8", MOST), ("size", "i8", MOST)])


def sgd_torch_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """See the reference book; lr may be an array without axes."""
    sgd_torch_all_inplace([w], [g], [v], lr, momentum, weight_decay)


def sgd_2012_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """See the reference book; lr may be an array without axes."""
    sgd_2012_all_inplace([w], [g], [v], lr, momentum, weight_decay)


def sgd_torch_all_inplace(
    ws: list[Any], gs: list[Any], vs: list[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> None:
    """See the reference book; lr may be an array without axes, on the device."""
    _run("sgd_torch", reference.sgd_torch_inplace, ws, gs, vs, lr, momentum, weight_decay)


def sgd_2012_all_inplace(
    ws: list[Any], gs: list[Any], vs: list[Any], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> None:
    """See the reference book; lr may be an array without axes, on the device."""
    _run("sgd_2012", reference.sgd_2012_inplace, ws, gs, vs, lr, momentum, weight_decay)


def _run(
    kernel: str,
    one_by_one: Callable[..., None],
    ws: list[Any],
    gs: list[Any],
    vs: list[Any],
    lr: Any,
    momentum: float,
    weight_decay: float,
) -> None:
    triples = list(zip(ws, gs, vs, strict=True))
    for w, g, v in triples:
        checks.sgd(w, g, v)
    ours = [triple for triple in triples if _has_kernel(ws[0], *triple)]
    for w, g, v in (triple for triple in triples if not _has_kernel(ws[0], *triple)):
        one_by_one(w, g, v, lr, momentum, weight_decay)
    xp = array_module(ws[0])
    rate = (lr, 0.0) if isinstance(lr, xp.ndarray) else (None, lr)
    for some in (ours[i : i + MOST] for i in range(0, len(ours), MOST)):
        table = np.zeros((), PARAMETERS)
        for i, (w, g, v) in enumerate(some):
            for name, value in (("w", address(w)), ("g", address(g)), ("v", address(v)), ("size", w.size)):
                table[name][i] = value
        lanes = 16 // ws[0].dtype.itemsize
        wide = lanes if all(address(array) % 16 == 0 for triple in some for array in triple) else 1
        blocks = max(-(-w.size // (wide * BLOCK)) for w, _, _ in some)
        grid = (min(blocks, 2048), len(some))
        launch(kernel, ws[0], wide, grid, table, *rate, momentum, weight_decay)


def _has_kernel(like: Any, w: Any, g: Any, v: Any) -> bool:
    """Whether sgd.cu takes them, beside others of the kind of ``like``."""
    return (
        has_kernel(like, w, g, v)
        and TYPES[w.dtype.name][2] == w.dtype.name  # weights are no bfloat16
        and w.shape == g.shape == v.shape
        and all(array.flags.c_contiguous for array in (w, g, v))
    )
