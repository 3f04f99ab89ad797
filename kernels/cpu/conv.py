"""Convolution on a CPU: which algorithm for which geometry. The algorithms are in winograd.py and im2col.py."""

from typing import Any

import numpy as np

from .. import reference
from ..reference.geometry import output_size, padding_pairs, pair
from . import im2col, memory, winograd
from .arrays import floats, is_float32
from .simd import LANES, PANEL

ALGORITHMS = ("auto", "im2col")


def algorithm_for(x_shape: Any, w_shape: Any, stride: Any = 1, groups: int = 1) -> str:
    """The rule: "winograd" or "im2col", for x (N, H, W, C) and w (KH, KW, C/G, O).

    Winograd takes square 3x3 and 5x5 kernels of stride 1 without groups, on channels that fill whole vectors;
    and the first layer of a network, 11x11 of stride 4 on 3 channels, as 3x3 of stride 1 on 48 (space to depth).
    """
    C = x_shape[3]
    KH, KW, _, O = w_shape
    SH, SW = pair(stride)
    if KH != KW or SH != SW or groups != 1 or O % PANEL or 0 in x_shape:
        return "im2col"
    side = -(-KH // SH)
    whole = C % PANEL == 0 if SH == 1 else C * SH * SH % LANES == 0 and C <= 4
    return "winograd" if side in winograd.OUTPUT_SIDE and whole else "im2col"


def conv2d_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward("auto", False, x, w, b, stride, padding, groups)


def conv2d_relu_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """See the reference book. The ReLU is applied while the output is in the cache."""
    return _forward("auto", True, x, w, b, stride, padding, groups)


def conv2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.conv2d_backward(dy, saved[1], input_grad)
    algorithm, x, w, has_bias, y, stride, padding, groups = saved
    dy = floats(dy)
    if algorithm == "winograd" and (input_grad and pair(stride) != (1, 1)):
        algorithm = "im2col"  # folded images have no way back: only a first layer is folded, and it needs none
    if algorithm == "winograd":
        p, folded = _winograd_plan(x, w, stride, padding, dy.shape)
        dx, dw, db = winograd.backward(p, x, folded, dy, y, input_grad)
        dw = _unfold_filter(dw, w.shape, pair(stride)[0])
    else:
        p = _im2col_plan(x, w, stride, padding, groups, dy.shape)
        dx, dw, db = im2col.backward(p, x, w, dy, y, input_grad)
    return dx, dw, db if has_bias else None


def conv2d_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.conv2d_relu_backward(dy, saved[1], input_grad)
    return conv2d_backward(dy, saved, input_grad)


def _forward(algorithm: str, relu: bool, x: Any, w: Any, b: Any, stride: Any, padding: Any, groups: int) -> tuple[Any, Any]:
    if not is_float32(x, w, b):
        function = reference.conv2d_relu_forward if relu else reference.conv2d_forward
        y, saved = function(x, w, b, stride, padding, groups)
        return y, ("reference", saved)
    x, w = floats(x), floats(w)
    bias = np.zeros(w.shape[3], np.float32) if b is None else floats(b)
    N, H, W, _ = x.shape
    (SH, SW), (vertical, horizontal) = pair(stride), padding_pairs(padding)
    shape = (N, output_size(H, w.shape[0], SH, vertical), output_size(W, w.shape[1], SW, horizontal), w.shape[3])
    if algorithm == "auto":
        algorithm = algorithm_for(x.shape, w.shape, stride, groups)
    if algorithm == "winograd":
        p, folded = _winograd_plan(x, w, stride, padding, shape)
        y = winograd.forward(p, x, folded, bias, relu)
    else:
        y = im2col.forward(_im2col_plan(x, w, stride, padding, groups, shape), x, w, bias, relu)
    return y, (algorithm, x, w, b is not None, y if relu else None, stride, padding, groups)


def _im2col_plan(x: Any, w: Any, stride: Any, padding: Any, groups: int, y_shape: Any) -> im2col.Plan:
    (top, _), (left, _) = padding_pairs(padding)
    _, OH, OW, O = y_shape
    return im2col.Plan(*x.shape, *w.shape[:2], *pair(stride), top, left, OH, OW, O, groups)


def _winograd_plan(x: Any, w: Any, stride: Any, padding: Any, y_shape: Any) -> tuple[winograd.Plan, Any]:
    """The plan, and the filter as it takes it."""
    (top, _), (left, _) = padding_pairs(padding)
    S = pair(stride)[0]
    folded = _fold_filter(w, S)
    return winograd.plan(x.shape, folded.shape, top, left, y_shape[1], y_shape[2], S), folded


def _fold_filter(w: Any, S: int) -> Any:
    """Space to depth: w (K, K, C, O) -> (r, r, S*S*C, O) with r = K/S rounded up; zeros fill the last row and column."""
    if S == 1:
        return w
    K, _, C, O = w.shape
    r = -(-K // S)
    padded = memory.zeros((r * S, r * S, C, O))
    padded[:K, :K] = w
    return np.ascontiguousarray(padded.reshape(r, S, r, S, C, O).transpose(0, 2, 1, 3, 4, 5)).reshape(r, r, S * S * C, O)


def _unfold_filter(folded: Any, shape: Any, S: int) -> Any:
    """The inverse of _fold_filter, for the gradient."""
    if S == 1:
        return folded
    K, _, C, O = shape
    r = folded.shape[0]
    padded = folded.reshape(r, r, S, S, C, O).transpose(0, 2, 1, 3, 4, 5).reshape(r * S, r * S, C, O)
    return np.ascontiguousarray(padded[:K, :K])
