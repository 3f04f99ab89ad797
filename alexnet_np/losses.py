"""Losses: kernels/reference/loss.py has the sums."""

from typing import Any

import numpy as np

from . import backend
from .layers.base import DTYPES


def softmax_cross_entropy(logits: Any, labels: Any, label_smoothing: float = 0.0) -> tuple[Any, Any]:
    """The mean over the batch of -log softmax(logits)[label], and its gradient.

    logits (N, K), labels (N,) integers in 0 ... K-1  ->  loss (scalar), dlogits (N, K), in logits' dtype
    """
    device, labels = _checked("softmax_cross_entropy", logits, labels)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"softmax_cross_entropy: label_smoothing: expected 0 <= e < 1, got {label_smoothing!r}")
    loss, saved = device.kernels.softmax_cross_entropy_forward(logits, labels, label_smoothing)
    return loss, device.kernels.softmax_cross_entropy_backward(1.0, saved)


def top_k_correct(logits: Any, labels: Any, k: int) -> np.ndarray:
    """Whether the label is among the k largest logits: (N, K), (N,) -> (N,) booleans."""
    device, labels = _checked("top_k_correct", logits, labels)
    return backend.to_numpy(among_largest(device.xp, logits, labels, k))


def among_largest(xp: Any, logits: Any, labels: Any, k: int) -> Any:
    """top_k_correct on the logits' device, without a look at the labels."""
    at_label = xp.arange(logits.shape[1]) == labels[:, None]
    own = xp.where(at_label, logits, -np.inf).max(axis=1, keepdims=True)
    # Equal logits do not count for the label: a network that says the same of all classes knows nothing.
    rivals = (logits >= own).sum(axis=1) - 1
    return (rivals < k) & xp.isfinite(own[:, 0])


def _checked(where: str, logits: Any, labels: Any) -> tuple[backend.Backend, Any]:
    """The backend of the logits, and the labels as its array; a sentence where they do not fit each other."""
    device = backend.of(logits, f"{where}: logits")
    if logits.dtype.name not in DTYPES:
        raise TypeError(f"{where}: logits: expected dtype {' or '.join(DTYPES)}, got {logits.dtype}")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"{where}: logits: expected (N, K), at least (1, 1), got {logits.shape}")
    labels = device.asarray(labels)
    device.kernels.check_labels(where, labels, *logits.shape)
    return device, labels
