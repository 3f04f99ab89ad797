"""What every kernel asks of its arguments, in all three backends: shapes that fit each other.

Compiled code trusts the sizes that it is given: an array that is smaller than they say is read, or written, beyond its
end, and one of another shape that happens to broadcast gives wrong numbers without a word. So every kernel checks its
arguments here before it computes. Backward checks dy, the one argument that it gets from outside.

Each function returns the shape of y, or raises ValueError: the operation, the argument, what was expected, what came.
Notation: see conv.py.
"""

from typing import Any

import numpy as np

from .geometry import Shape, output_size, padding_pairs, pair


def linear(x: Any, w: Any, b: Any | None) -> Shape:
    """x (N, I), w (I, O), b (O,) or None -> (N, O)"""
    _axes("linear", "x", x, "N, I")
    _axes("linear", "w", w, "I, O")
    if w.shape[0] != x.shape[1]:
        _refuse("linear", "w", f"({x.shape[1]}, O) for x {x.shape}", w)
    _bias("linear", b, w.shape[1])
    return x.shape[0], w.shape[1]


def conv2d(x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1) -> Shape:
    """x (N, H, W, C), w (KH, KW, C/G, O), b (O,) or None -> (N, OH, OW, O)"""
    _axes("conv2d", "x", x, "N, H, W, C")
    _axes("conv2d", "w", w, "KH, KW, C/G, O")
    (N, H, W, C), (KH, KW, depth, O) = x.shape, w.shape
    if groups < 1 or depth * groups != C or O % groups:
        expected = f"(KH, KW, C/G, O) with C/G * {groups} = {C}, and O a multiple of {groups}, for {groups} groups"
        _refuse("conv2d", "w", expected, w)
    _bias("conv2d", b, O)
    OH, OW = _windows("conv2d", (H, W), (KH, KW), stride, padding)
    return N, OH, OW, O


def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, ties: str = "first"
) -> Shape:
    """x (N, H, W, C) -> (N, OH, OW, C)"""
    _axes("max_pool2d", "x", x, "N, H, W, C")
    return _pooled(x.shape, kernel_size, stride, padding, ceil_mode, ties)


def conv2d_relu_max_pool2d(
    x: Any, w: Any, b: Any | None, stride: Any, padding: Any, groups: int, pool: tuple[Any, ...]
) -> Shape:
    """As conv2d, then max_pool2d: ``pool`` is what max_pool2d takes after x."""
    return _pooled(conv2d(x, w, b, stride, padding, groups), *pool)


def images(operation: str, x: Any, groups: int = 1) -> Shape:
    """x (N, H, W, C) -> the same, C being a multiple of ``groups``"""
    _axes(operation, "x", x, "N, H, W, C")
    if groups < 1 or x.shape[3] % groups:
        _refuse(operation, "x", f"(N, H, W, C) with C a multiple of {groups} groups", x)
    return tuple(x.shape)


def adaptive_avg_pool2d(x: Any, size: Any) -> Shape:
    """x (N, H, W, C), H and W at least 1, onto a grid of ``size`` -> (N, OH, OW, C)"""
    N, H, W, C = images("adaptive_avg_pool2d", x)
    if min(H, W) < 1:
        _refuse("adaptive_avg_pool2d", "x", "images of at least one pixel", x)
    if min(pair(size)) < 1:
        raise ValueError(f"adaptive_avg_pool2d: output_size: expected at least 1, got {size}")
    return (N, *pair(size), C)


def rows(operation: str, x: Any) -> Shape:
    """x (N, K), K at least 1 -> the same"""
    _axes(operation, "x", x, "N, K")
    if not x.shape[1]:
        _refuse(operation, "x", "(N, K) with at least one class", x)
    return tuple(x.shape)


def softmax_cross_entropy(logits: Any, labels: Any) -> Shape:
    """logits (N, K), labels (N,) integers in 0 ... K-1 -> ()

    The values of labels on a GPU are not looked at: that would wait for it.
    """
    N, K = rows("softmax_cross_entropy", logits)
    check_labels("softmax_cross_entropy", labels, N, K, values=type(labels) is np.ndarray)
    return ()


def check_labels(operation: str, labels: Any, N: int, K: int, values: bool = True) -> None:
    """labels (N,) are integers, and where ``values`` are looked at, in 0 ... K-1."""
    if labels.shape != (N,) or labels.dtype.kind not in "iu":
        _refuse(operation, "labels", f"{N} integers", labels)
    if N and values:
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= K:
            raise ValueError(f"{operation}: labels: expected 0 to {K - 1}, got {low if low < 0 else high}")


def normalise(x: Any, mean: Any, std: Any) -> Shape:
    """x (..., 3) of bytes, mean and std of 3 numbers -> the shape of x"""
    if x.ndim < 1 or x.shape[-1] != 3 or x.dtype.name != "uint8":
        _refuse("normalise", "x", "(..., 3) of uint8", x)
    for name, numbers in (("mean", mean), ("std", std)):
        if len(numbers) != 3:
            raise ValueError(f"normalise: {name}: expected 3 numbers, got {len(numbers)}")
    return tuple(x.shape)


def sgd(w: Any, g: Any, v: Any) -> Shape:
    """Weights, gradient and momentum buffer of one shape -> that"""
    for name, array in (("g, the gradient", g), ("v, the momentum buffer", v)):
        if array.shape != w.shape:
            _refuse("sgd", name, f"shape {w.shape} as w has", array)
    return tuple(w.shape)


def gradient(operation: str, dy: Any, shape: Shape) -> None:
    """dy has the shape of y."""
    if dy.shape != shape:
        _refuse(f"{operation}_backward", "dy", f"shape {shape} as y has", dy)


def _pooled(
    shape: Shape, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, ties: str = "first"
) -> Shape:
    N, H, W, C = shape
    if ties not in ("first", "all"):
        raise ValueError(f"max_pool2d: ties: expected 'first' or 'all', got {ties!r}")
    OH, OW = _windows(
        "max_pool2d", (H, W), pair(kernel_size), kernel_size if stride is None else stride, padding, ceil_mode
    )
    return N, OH, OW, C


def _windows(
    operation: str, image: Any, kernel: Any, stride: Any, padding: Any, ceil_mode: bool = False
) -> tuple[int, int]:
    """How many windows fit, along each axis."""
    strides, pads = pair(stride), padding_pairs(padding)
    if min(*kernel, *strides) < 1:
        raise ValueError(f"{operation}: kernel and stride: expected at least 1, got {tuple(kernel)} and {stride}")
    if min(*pads[0], *pads[1]) < 0:
        raise ValueError(f"{operation}: padding: expected at least 0, got {padding}")
    OH, OW = (output_size(*axis, ceil_mode) for axis in zip(image, kernel, strides, pads, strict=True))
    if OH < 1 or OW < 1:
        raise ValueError(f"{operation}: x: a window of {tuple(kernel)} does not fit into {image}, padding {padding}")
    return OH, OW


def _axes(operation: str, name: str, array: Any, axes: str) -> None:
    if array.ndim != axes.count(",") + 1:
        _refuse(operation, name, f"({axes})", array)


def _bias(operation: str, b: Any | None, O: int) -> None:
    if b is not None and b.shape != (O,):
        _refuse(operation, "b", f"shape ({O},)", b)


def _refuse(operation: str, name: str, expected: str, array: Any) -> None:
    raise ValueError(f"{operation}: {name}: expected {expected}, got {array.dtype} of shape {tuple(array.shape)}")
