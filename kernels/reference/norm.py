"""Local response normalisation, forward and backward.

Sources: Krizhevsky et al. 2012, section 3.3; the network's original code for ``across="space"``.
"""

from typing import Any

from ..array_module import array_module
from . import checks


def local_response_norm_forward(
    x: Any,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_alpha: bool = True,
    across: str = "channels",
    groups: int = 1,
) -> tuple[Any, Any]:
    """y[i] = x[i] / s[i]^beta   with   s[i] = k + a * sum of x[j]^2 over the window around i

    x (N, H, W, C)  ->  y (N, H, W, C)

    The window is ``size`` neighbouring channels of the same pixel (``across="channels"``: channel i
    sees i - size//2 ... i + (size-1)//2, fewer at the ends), or size x size neighbouring pixels of
    the same channel (``across="space"``). With ``groups``, windows do not reach from one of that many
    equal blocks of channels into the next: the two GPUs of 2012 did not see each other here.

    a is alpha in the paper's formula, TensorFlow and Chainer (``divide_alpha=False``), and alpha
    divided by the number of elements in a window in torch, Caffe and the code of 2012.
    """
    checks.images("local_response_norm", x, groups)
    axes = {"channels": (4,), "space": (1, 2)}[across]
    a = alpha / size ** len(axes) if divide_alpha else alpha
    grouped = split_channels(x, groups)
    s = k + a * _window_sum(grouped * grouped, size, axes)
    y = grouped * s**-beta
    return y.reshape(x.shape), (grouped, s, size, axes, a, beta)


def local_response_norm_backward(dy: Any, saved: Any) -> Any:
    """dx[i] = dy[i] s[i]^-beta  -  2 a beta x[i] * sum of dy[j] x[j] s[j]^(-beta-1) over the windows j that hold i

    dy (N, H, W, C)  ->  dx (N, H, W, C). x[i] stands in two places of y[j] = x[j] s[j]^-beta:

    - in front, where j = i. The derivative is s[i]^-beta: the first term.
    - in s[j], for every window j that holds i. s[j] contains a x[i]^2, so its derivative by x[i] is 2 a x[i], and
      that of y[j] is x[j] (-beta) s[j]^(-beta-1) 2 a x[i]. Times dy[j], added over those j: the second term.

    Forward asks which i are in the window of j, backward in which windows j is i. The answers differ where a window
    is not symmetric (an even size): ``transposed`` turns it round.
    """
    x, s, size, axes, a, beta = saved
    N, H, W, G, D = x.shape
    checks.gradient("local_response_norm", dy, (N, H, W, G * D))
    shape, dy = dy.shape, dy.reshape(x.shape)
    seen = _window_sum(dy * x * s ** (-beta - 1), size, axes, transposed=True)
    return (dy * s**-beta - 2 * a * beta * x * seen).reshape(shape)


def split_channels(x: Any, groups: int) -> Any:
    """(N, H, W, C) -> (N, H, W, G, C/G), a view."""
    N, H, W, C = x.shape
    return x.reshape(N, H, W, groups, C // groups)


def _window_sum(x: Any, size: int, axes: tuple[int, ...], transposed: bool = False) -> Any:
    """The sum of x over the window around each position, along each of the axes; 0 beyond the ends."""
    xp = array_module(x)
    before, after = size // 2, (size - 1) // 2
    if transposed:
        before, after = after, before
    for axis in axes:
        length = x.shape[axis]
        padding = [(0, 0)] * x.ndim
        padding[axis] = (before, after)
        padded = xp.moveaxis(xp.pad(x, padding), axis, 0)
        x = xp.moveaxis(sum(padded[d : d + length] for d in range(size)), 0, axis)
    return x
