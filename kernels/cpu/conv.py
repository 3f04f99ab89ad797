"""Convolution on a CPU: which algorithm for which geometry. The algorithms are in winograd.py and im2col.py."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import reference
from ..reference import checks
from ..reference.geometry import Shape, output_size, padding_pairs, pair
from . import im2col, memory, pool as max_pool, threads, winograd
from .arrays import floats, gradient, has_kernel
from .simd import LANES, PANEL

# The transformed filters, several times as large as the filters, are written and read once for all tiles, however few.
# Measured: AlexNet's 5x5 layer is quicker by Winograd from two images on (98 tiles), its 3x3 layers from six (54).
FEWEST_TILES = 50


def conv2d_algorithm(x_shape: Any, w_shape: Any, stride: Any = 1, padding: Any = 0, groups: int = 1) -> str:
    """ "winograd" or "im2col": the one that multiplies less, for x (N, H, W, C) and w (KH, KW, C/G, O).

    Counted for each pair of an input and an output channel, in the forward pass:

        im2col      a multiplication for each output pixel and each tap of the kernel
        winograd    T*T for each tile of m x m outputs; not for fewer than FEWEST_TILES

    An image that must be folded occupies one thread: fewer images than threads are left to im2col.
    """
    folded_alone = pair(stride) != (1, 1) and x_shape[0] < threads.NUM_THREADS
    if folded_alone or not _winograd_takes(x_shape, w_shape, stride, groups):
        return "im2col"
    N, OH, OW, _ = _output_shape(x_shape, w_shape, stride, padding)
    side = -(-w_shape[0] // pair(stride)[0])
    _, T, TH, TW = winograd.tiling(OH, OW, side)
    tiles = N * TH * TW
    fewer = tiles * T**2 < N * OH * OW * side**2
    return "winograd" if fewer and tiles >= FEWEST_TILES else "im2col"


def conv2d_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward(conv2d_algorithm, False, x, w, b, stride, padding, groups)


def conv2d_relu_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """See the reference book. The ReLU is applied while the output is in the cache."""
    return _forward(conv2d_algorithm, True, x, w, b, stride, padding, groups)


def conv2d_relu_max_pool2d_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
) -> tuple[Any, Any]:
    """See the reference book. By Winograd an image is pooled while it is in the cache."""
    return _pooled_forward(conv2d_algorithm, x, w, b, stride, padding, groups, pool)


def conv2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book. The algorithm is forward's."""
    if saved[0] == "reference":
        return reference.conv2d_backward(dy, saved[1], input_grad)
    algorithm, x, w, has_bias, y, stride, padding, groups = saved
    dy = gradient("conv2d", dy, _output_shape(x.shape, w.shape, stride, padding))
    found = _winograd_backward(x, w, stride, padding, dy, y, input_grad) if algorithm == "winograd" else None
    dx, dw, db = found or im2col.backward(_im2col_plan(x, w, stride, padding, groups), x, w, dy, y, input_grad)
    return dx, dw, db if has_bias else None


def conv2d_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.conv2d_relu_backward(dy, saved[1], input_grad)
    return conv2d_backward(dy, saved, input_grad)


def conv2d_relu_max_pool2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "apart":
        _, conv_saved, pool_saved = saved
        return conv2d_relu_backward(max_pool.max_pool2d_backward(dy, pool_saved), conv_saved, input_grad)
    _, x, w, has_bias, windows, winners, stride, padding = saved
    dy = gradient("conv2d_relu_max_pool2d", dy, winners.shape)
    found = _winograd_backward(x, w, stride, padding, dy, None, input_grad, windows, winners)
    if found is None:
        dy = max_pool.max_pool2d_backward(dy, (windows, winners))
        found = im2col.backward(_im2col_plan(x, w, stride, padding, 1), x, w, dy, None, input_grad)
    dx, dw, db = found
    return dx, dw, db if has_bias else None


def with_algorithm(algorithm: str) -> dict[str, Callable[..., Any]]:
    """This chapter's functions with one algorithm: "im2col" everywhere, "winograd" wherever it can be."""

    def forced(x_shape: Any, w_shape: Any, stride: Any = 1, padding: Any = 0, groups: int = 1) -> str:
        return algorithm if algorithm == "im2col" or _winograd_takes(x_shape, w_shape, stride, groups) else "im2col"

    def forward(x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1) -> tuple[Any, Any]:
        return _forward(forced, False, x, w, b, stride, padding, groups)

    def relu_forward(
        x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
    ) -> tuple[Any, Any]:
        return _forward(forced, True, x, w, b, stride, padding, groups)

    def pooled_forward(
        x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1, pool: tuple[Any, ...] = (2,)
    ) -> tuple[Any, Any]:
        return _pooled_forward(forced, x, w, b, stride, padding, groups, pool)

    return {
        "conv2d_algorithm": forced,
        "conv2d_forward": forward,
        "conv2d_relu_forward": relu_forward,
        "conv2d_relu_max_pool2d_forward": pooled_forward,
    }


def _forward(
    choose: Callable[..., str], relu: bool, x: Any, w: Any, b: Any, stride: Any, padding: Any, groups: int
) -> tuple[Any, Any]:
    checks.conv2d(x, w, b, stride, padding, groups)
    if not has_kernel(x, w, b):
        function = reference.conv2d_relu_forward if relu else reference.conv2d_forward
        y, saved = function(x, w, b, stride, padding, groups)
        return y, ("reference", saved)
    x, w = floats(x), floats(w)
    bias = _bias(w, b)
    algorithm = choose(x.shape, w.shape, stride, padding, groups)
    found = None
    if algorithm == "winograd":
        p, folded = _winograd_plan(x, w, stride, padding)
        found = winograd.forward(p, x, folded, bias, relu)
    if found is None:
        algorithm = "im2col"
        y = im2col.forward(_im2col_plan(x, w, stride, padding, groups), x, w, bias, relu)
    else:
        y, _ = found
    return y, (algorithm, x, w, b is not None, y if relu else None, stride, padding, groups)


def _pooled_forward(
    choose: Callable[..., str], x: Any, w: Any, b: Any, stride: Any, padding: Any, groups: int, pool: tuple[Any, ...]
) -> tuple[Any, Any]:
    pooled = checks.conv2d_relu_max_pool2d(x, w, b, stride, padding, groups, pool)
    algorithm = choose(x.shape, w.shape, stride, padding, groups)
    windows = max_pool.plan(_output_shape(x.shape, w.shape, stride, padding), pooled, *pool)
    if algorithm == "winograd" and windows and windows.KH * windows.KW > 1 and has_kernel(x, w, b):
        x, w = floats(x), floats(w)
        p, folded = _winograd_plan(x, w, stride, padding)
        found = winograd.forward(p, x, folded, _bias(w, b), True, windows)
        if found is not None:
            y, winners = found
            return y, ("winograd", x, w, b is not None, windows, winners, stride, padding)
        choose = _always_im2col
    y, conv_saved = _forward(choose, True, x, w, b, stride, padding, groups)
    y, pool_saved = max_pool.max_pool2d_forward(y, *pool)
    return y, ("apart", conv_saved, pool_saved)


def _always_im2col(*_: Any) -> str:
    return "im2col"


def _winograd_backward(
    x: Any, w: Any, stride: Any, padding: Any, dy: Any, y: Any, input_grad: bool, *pooling: Any
) -> tuple[Any, Any, Any] | None:
    """None where Winograd's tiles met inf or NaN, or have no way back: only the first layer of a network is folded, and
    it wants no dx."""
    if pair(stride) != (1, 1) and input_grad:
        return None
    p, folded = _winograd_plan(x, w, stride, padding)
    found = winograd.backward(p, x, folded, dy, y, input_grad, *pooling)
    if found is None:
        return None
    dx, dw, db = found
    return dx, _unfold_filter(dw, w.shape, pair(stride)[0]), db


def _bias(w: Any, b: Any | None) -> Any:
    return np.zeros(w.shape[3], np.float32) if b is None else floats(b)


def _winograd_takes(x_shape: Any, w_shape: Any, stride: Any, groups: int) -> bool:
    """Square 3x3 and 5x5 kernels of stride 1 without groups, on channels that fill whole vectors.

    And the first layer of a network: 11x11 of stride 4 on 3 channels is 3x3 of stride 1 on 48, once four
    neighbouring rows and columns are folded into the channels (space to depth).
    """
    C = x_shape[3]
    KH, KW, _, O = w_shape
    SH, SW = pair(stride)
    if KH != KW or SH != SW or groups != 1 or O % PANEL or 0 in x_shape:
        return False
    whole = C % PANEL == 0 if SH == 1 else C * SH * SH % LANES == 0 and C <= 4
    return -(-KH // SH) in winograd.OUTPUT_SIDE and whole


def _output_shape(x_shape: Any, w_shape: Any, stride: Any, padding: Any) -> Shape:
    N, H, W, _ = x_shape
    (SH, SW), (vertical, horizontal) = pair(stride), padding_pairs(padding)
    return N, output_size(H, w_shape[0], SH, vertical), output_size(W, w_shape[1], SW, horizontal), w_shape[3]


def _im2col_plan(x: Any, w: Any, stride: Any, padding: Any, groups: int) -> im2col.Plan:
    (SH, SW), ((top, _), (left, _)) = pair(stride), padding_pairs(padding)
    N, H, W, C = x.shape
    KH, KW, _, O = w.shape
    _, OH, OW, _ = _output_shape(x.shape, w.shape, stride, padding)
    return im2col.Plan(N, H, W, C, KH, KW, SH, SW, top, left, OH, OW, O, groups)


def _winograd_plan(x: Any, w: Any, stride: Any, padding: Any) -> tuple[winograd.Plan, Any]:
    """The plan, and the filter as it takes it."""
    (top, _), (left, _) = padding_pairs(padding)
    _, OH, OW, _ = _output_shape(x.shape, w.shape, stride, padding)
    folded = _fold_filter(w, pair(stride)[0])
    return winograd.plan(x.shape, folded.shape, top, left, OH, OW, pair(stride)[0]), folded


def _fold_filter(w: Any, S: int) -> Any:
    """Space to depth: w (K, K, C, O) -> (r, r, S*S*C, O), r = K/S rounded up; zeros fill the last row and column."""
    if S == 1:
        return w
    K, _, C, O = w.shape
    r = -(-K // S)
    padded = memory.zeros((r * S, r * S, C, O))
    padded[:K, :K] = w
    return np.ascontiguousarray(padded.reshape(r, S, r, S, C, O).transpose(0, 2, 1, 3, 4, 5)).reshape(
        r, r, S * S * C, O
    )


def _unfold_filter(folded: Any, shape: Any, S: int) -> Any:
    """The inverse of _fold_filter, for the gradient."""
    if S == 1:
        return folded
    K, _, C, O = shape
    r = folded.shape[0]
    padded = folded.reshape(r, r, S, S, C, O).transpose(0, 2, 1, 3, 4, 5).reshape(r * S, r * S, C, O)
    return np.ascontiguousarray(padded[:K, :K])
