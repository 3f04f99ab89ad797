"""ReLU and softmax, forward and backward.

Sources: Krizhevsky et al. 2012, section 3.1 (ReLU).
"""

from typing import Any

from ..array_module import array_module
from . import checks


def relu_forward(x: Any) -> tuple[Any, Any]:
    """y = max(x, 0), element by element, any shape. NaN stays NaN (and x * (x > 0) would make NaN of -inf)."""
    xp = array_module(x)
    y = xp.maximum(x, xp.zeros((), x.dtype))
    return y, y


def relu_backward(dy: Any, saved: Any) -> Any:
    """dx = 0 where x <= 0, else dy: a gate, open where forward let x through.

    The slope of max(x, 0) is 1 to the right of 0 and 0 to the left. At 0 there is none; 0 is chosen, as in
    every framework. y is saved, not x: y <= 0 exactly where x <= 0, and the next layer keeps y anyway.
    """
    xp = array_module(dy)
    y = saved
    checks.gradient("relu", dy, y.shape)
    return xp.where(y <= 0, xp.zeros((), dy.dtype), dy)


def softmax_forward(x: Any) -> tuple[Any, Any]:
    """p[n, k] = exp(x[n, k]) / sum_j exp(x[n, j]):  x (N, K)  ->  p (N, K)

    Each row is first lowered by its maximum. That cancels in the fraction, and exp cannot overflow.
    (.real: the checks of gradients also compute with complex numbers.)
    """
    xp = array_module(x)
    checks.rows("softmax", x)
    e = xp.exp(x - x.real.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return p, p


def softmax_backward(dp: Any, saved: Any) -> Any:
    """dx[n, k] = p[n, k] (dp[n, k] - sum_j dp[n, j] p[n, j])

    In one row, p[j] = exp(x[j]) / S with S = sum_j exp(x[j]). By the quotient rule the derivative of p[j] by x[k] is

        (exp(x[j]) S - exp(x[j]) exp(x[k])) / S^2  =  p[j] (1 - p[k])     if j = k
        (0           - exp(x[j]) exp(x[k])) / S^2  =  p[j] (0 - p[k])     otherwise

    Every p[j] depends on every x[k], so the chain rule adds over j:

        dx[k] = sum_j dp[j] p[j] ((1 if j = k else 0) - p[k]) = dp[k] p[k] - p[k] sum_j dp[j] p[j]

    Every row of dx sums to 0: adding the same number to all x of a row changes nothing.
    """
    p = saved
    checks.gradient("softmax", dp, p.shape)
    return p * (dp - (dp * p).sum(axis=1, keepdims=True))
