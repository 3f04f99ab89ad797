"""The optimiser's step on a CPU: one pass over weights, gradient and velocity."""

from typing import Any

import numpy as np

from .. import reference
from ..reference import checks
from ..reference.fused import for_each
from . import threads
from .arrays import has_kernel
from .jit import compiled


def sgd_torch_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """See the reference book."""
    if not _plain(w, g, v):
        reference.sgd_torch_inplace(w, g, v, lr, momentum, weight_decay)
        return
    _run(_torch, w, g, v, lr, momentum, weight_decay)


def sgd_2012_inplace(w: Any, g: Any, v: Any, lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
    """See the reference book."""
    if not _plain(w, g, v):
        reference.sgd_2012_inplace(w, g, v, lr, momentum, weight_decay)
        return
    _run(_2012, w, g, v, lr, momentum, weight_decay)


sgd_torch_all_inplace = for_each(sgd_torch_inplace)
sgd_2012_all_inplace = for_each(sgd_2012_inplace)


def _plain(*arrays: Any) -> bool:
    return has_kernel(*arrays) and all(a.flags.c_contiguous and a.flags.writeable for a in arrays)


def _run(kernel: Any, w: Any, g: Any, v: Any, lr: float, momentum: float, weight_decay: float) -> None:
    checks.sgd(w, g, v)
    factors = (np.float32(lr), np.float32(momentum), np.float32(weight_decay))
    threads.run(kernel, [(w.ravel()[a:b], g.ravel()[a:b], v.ravel()[a:b], *factors) for a, b in threads.shares(w.size)])


@compiled
def _torch(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    for i in range(w.size):
        v[i] = momentum * v[i] + g[i] + weight_decay * w[i]
        w[i] -= lr * v[i]


@compiled
def _2012(w, g, v, lr, momentum, weight_decay):  # type: ignore[no-untyped-def]
    for i in range(w.size):
        v[i] = momentum * v[i] - lr * (g[i] + weight_decay * w[i])
        w[i] += v[i]
