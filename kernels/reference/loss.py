"""Softmax cross-entropy, forward and backward.

Sources: Krizhevsky et al. 2012, section 3 (multinomial logistic regression); Szegedy et al. 2016,
section 7 (label smoothing).
"""

from typing import Any

from ..array_module import array_module
from . import checks


def softmax_cross_entropy_forward(logits: Any, labels: Any, label_smoothing: float = 0.0) -> tuple[Any, Any]:
    """loss = - mean over n of  sum_k q[n, k] log p[n, k],   p = softmax(logits)

    logits (N, K), labels (N,) integers in 0 ... K-1  ->  loss, a scalar array

    The logits are the network's last numbers, one for each of K classes; softmax makes probabilities p of
    them. q is what is wanted: 1 at the label and 0 elsewhere, so that the loss is -log p[label]. With label
    smoothing e, q is (1 - e) at the label plus e/K everywhere.

    log p is computed as x - log sum exp x, after lowering x by its maximum: the log of a softmax that
    underflowed to 0 would be -inf. Where q is 0 nothing is added, also for a logit of -inf: 0 * -inf is NaN.
    """
    xp = array_module(logits)
    checks.softmax_cross_entropy(logits, labels)
    N, K = logits.shape
    x = logits - logits.real.max(axis=1, keepdims=True)
    log_p = x - xp.log(xp.exp(x).sum(axis=1, keepdims=True))
    at_label = xp.arange(K) == labels[:, None]
    q = (1 - label_smoothing) * at_label.astype(logits.dtype) + label_smoothing / K
    wanted = xp.where(q == 0, xp.zeros((), logits.dtype), log_p)
    loss = -(q * wanted).sum() / N
    return loss, (log_p, q)


def softmax_cross_entropy_backward(dloss: Any, saved: Any) -> Any:
    """dlogits = dloss * (p - q) / N, (N, K): what the network says, minus what was wanted.

    In one row, log p[j] = x[j] - log S with S = sum_j exp(x[j]). The derivative of log S by x[k] is exp(x[k]) / S,
    which is p[k]. So that of log p[j] by x[k] is (1 if j = k else 0) - p[k], and that of the row's loss

        - sum_j q[j] ((1 if j = k else 0) - p[k])  =  - q[k] + p[k] sum_j q[j]  =  p[k] - q[k]

    since q sums to 1. The mean over the batch divides by N. Rows of p - q sum to 0.
    """
    log_p, q = saved
    xp = array_module(log_p)
    return (xp.exp(log_p) - q) * (dloss / log_p.shape[0])
