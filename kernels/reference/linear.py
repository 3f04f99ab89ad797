"""The linear (fully connected, dense) layer, forward and backward.

Notation: N images, I inputs, O outputs; ' is the transpose.
"""

from typing import Any


def linear_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """y = x w + b:  x (N, I), w (I, O), b (O,) or None  ->  y (N, O)"""
    y = x @ w
    if b is not None:
        y += b
    return y, (x, w, b is not None)


def linear_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """dy (N, O)  ->  dx (N, I), dw (I, O), db (O,)

    From y[n, o] = b[o] + sum_i x[n, i] w[i, o] follow, by the chain rule,

        dx[n, i] = sum_o dy[n, o] w[i, o]      dx = dy w'
        dw[i, o] = sum_n x[n, i] dy[n, o]      dw = x' dy
        db[o]    = sum_n dy[n, o]

    No other products have the right shapes: a way to remember them.
    """
    x, w, has_bias = saved
    dx = dy @ w.T if input_grad else None
    return dx, x.T @ dy, dy.sum(axis=0) if has_bias else None
