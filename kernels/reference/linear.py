"""The linear (fully connected, dense) layer, forward and backward.

Notation: N images in the batch, I inputs, O outputs; ' is the transpose.
"""

from typing import Any

from . import checks


def linear_forward(x: Any, w: Any, b: Any | None) -> tuple[Any, Any]:
    """y = x w + b:  x (N, I), w (I, O), b (O,) or None  ->  y (N, O)"""
    checks.linear(x, w, b)
    y = x @ w
    if b is not None:
        y += b
    return y, (x, w, b is not None)


def linear_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """dy (N, O)  ->  dx (N, I), dw (I, O), db (O,)

    In y[n, o] = b[o] + sum_i x[n, i] w[i, o]

        x[n, i] reaches all outputs o of its own image, each with the factor w[i, o];
        w[i, o] reaches output o of all images n, each with the factor x[n, i];
        b[o]    reaches output o of all images n, with the factor 1.

    The chain rule adds up what they reach:

        dx[n, i] = sum_o dy[n, o] w[i, o]      dx = dy w'
        dw[i, o] = sum_n x[n, i] dy[n, o]      dw = x' dy
        db[o]    = sum_n dy[n, o]

    A way to remember the two products: no others have the right shapes.
    """
    x, w, has_bias = saved
    checks.gradient("linear", dy, (x.shape[0], w.shape[1]))
    dx = dy @ w.T if input_grad else None
    return dx, x.T @ dy, dy.sum(axis=0) if has_bias else None
