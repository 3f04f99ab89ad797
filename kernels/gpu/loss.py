"""Softmax cross-entropy on a GPU: loss.cu."""

from typing import Any

from .. import reference
from ..array_module import array_module
from ..reference import checks
from .launch import TYPES, contiguous, has_kernel, launch, rows


def softmax_cross_entropy_forward(logits: Any, labels: Any, label_smoothing: float = 0.0) -> tuple[Any, Any]:
    """See the reference book."""
    if not has_kernel(logits):
        loss, saved = reference.softmax_cross_entropy_forward(logits, labels, label_smoothing)
        return loss, ("reference", saved)
    checks.softmax_cross_entropy(logits, labels)
    xp, logits = array_module(logits), contiguous(logits)
    labels = xp.ascontiguousarray(labels, "int64")
    N, K = logits.shape
    dtype = TYPES[logits.dtype.name][2]
    losses, of_rows, loss = xp.empty(N, dtype), xp.empty((N, 2), dtype), xp.empty((), dtype)
    grid = rows(N, 1)
    launch("cross_entropy_forward", logits, 1, grid, logits, labels, losses, of_rows, N, K, label_smoothing)
    launch("mean", logits, 1, (1, 1), losses, loss, N)
    return loss, ("gpu", logits, labels, of_rows, label_smoothing)


def softmax_cross_entropy_backward(dloss: Any, saved: Any) -> Any:
    """See the reference book. An array for ``dloss`` is read: that waits for the device."""
    if saved[0] == "reference":
        return reference.softmax_cross_entropy_backward(dloss, saved[1])
    _, logits, labels, of_rows, label_smoothing = saved
    N, K = logits.shape
    dlogits = array_module(logits).empty_like(logits)
    arguments = (logits, labels, of_rows, dlogits, N, K, label_smoothing, float(dloss) / N)
    launch("cross_entropy_backward", logits, 1, rows(N, K), *arguments)
    return dlogits
