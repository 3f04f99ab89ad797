"""Convolution on a GPU: columns of a few images at a time (conv.cu), cuBLAS, and bias.cu around them."""

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .. import reference
from ..array_module import array_module
from ..reference import checks
from ..reference.geometry import Pair, output_size, padding_pairs, pair
from .bias import add_bias, gradient
from .gemm import multiply
from .launch import contiguous, has_kernel, lasting, launch, rows, runs, width
from .precision import has_product, operand, result_dtype, widened

# Columns are written, multiplied at once and forgotten: so many bytes of them that they need not leave the second-level
# cache (40 MB on an A100, 50 on an H100), and of one image at least.
WORKSPACE = 24 << 20


def im2col(
    x: Any,
    kernel_size: int | Pair,
    stride: int | Pair = 1,
    padding: Any = 0,
    pad_value: float = 0.0,
    ceil_mode: bool = False,
) -> Any:
    """See the reference book."""
    if not has_kernel(x):
        return reference.im2col(x, kernel_size, stride, padding, pad_value, ceil_mode)
    x = contiguous(x)
    windows = _Windows.over(x.shape, kernel_size, stride, padding, ceil_mode)
    cols = array_module(x).empty((windows.N, windows.OH, windows.OW, windows.KH, windows.KW, windows.C), x.dtype)
    if cols.size:
        windows.copy_to(cols, x, pad=pad_value)
    return cols


def col2im(cols: Any, image_size: Pair, stride: int | Pair = 1, padding: Any = 0) -> Any:
    """See the reference book."""
    if not has_kernel(cols):
        return reference.col2im(cols, image_size, stride, padding)
    cols = contiguous(cols)
    N, OH, OW, KH, KW, C = cols.shape
    (SH, SW), ((PT, _), (PL, _)) = pair(stride), padding_pairs(padding)
    windows = _Windows(N, *image_size, C, OH, OW, KH, KW, SH, SW, PT, PL)
    x = array_module(cols).empty((N, *image_size, C), cols.dtype)
    windows.gather_from(cols, x)
    return x


def conv2d_forward(
    x: Any, w: Any, b: Any | None, stride: int | Pair = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward("float32", False, x, w, b, stride, padding, groups)


def conv2d_relu_forward(
    x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
) -> tuple[Any, Any]:
    """See the reference book."""
    return _forward("float32", True, x, w, b, stride, padding, groups)


def with_precision(precision: str) -> dict[str, Callable[..., Any]]:
    """This chapter's functions in a precision; backward keeps to forward's."""

    def forward(
        x: Any, w: Any, b: Any | None, stride: int | Pair = 1, padding: Any = 0, groups: int = 1
    ) -> tuple[Any, Any]:
        return _forward(precision, False, x, w, b, stride, padding, groups)

    def relu_forward(
        x: Any, w: Any, b: Any | None, stride: Any = 1, padding: Any = 0, groups: int = 1
    ) -> tuple[Any, Any]:
        return _forward(precision, True, x, w, b, stride, padding, groups)

    return {"conv2d_forward": forward, "conv2d_relu_forward": relu_forward}


def _forward(
    precision: str, relu: bool, x: Any, w: Any, b: Any | None, stride: Any, padding: Any, groups: int
) -> tuple[Any, Any]:
    checks.conv2d(x, w, b, stride, padding, groups)
    if not has_product(x, w, b, precision):
        function = reference.conv2d_relu_forward if relu else reference.conv2d_forward
        y, saved = function(x, w, b, stride, padding, groups)
        return y, ("reference", saved)
    y, saved = product(precision, x, w, stride, padding, groups, result_dtype(x, precision, relu))
    if relu or b is not None:
        add_bias(y, b, relu)
    return y, ("gpu", saved, b is not None, y if relu else None)


def conv2d_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.conv2d_backward(dy, saved[1], input_grad)
    _, saved, has_bias, y = saved
    windows = saved.windows
    checks.gradient("conv2d", dy, (windows.N, windows.OH, windows.OW, saved.w.shape[3]))
    dz, db = gradient(dy, y, has_bias)
    return *product_gradients(dz, saved, input_grad), db


class Product(NamedTuple):
    """What the gradients of a product need: operands as they were multiplied, and the dtypes they came in."""

    precision: str
    x: Any
    w: Any
    x_dtype: Any
    w_dtype: Any
    windows: "_Windows"


def product(precision: str, x: Any, w: Any, stride: Any, padding: Any, groups: int, dtype: Any) -> tuple[Any, Product]:
    """The convolution alone, without bias: y (N, OH, OW, O) in this dtype."""
    O = w.shape[3]
    windows = _Windows.over(x.shape, w.shape[:2], stride, padding, groups=groups)
    y = array_module(x).empty((windows.N, windows.OH, windows.OW, O), dtype)
    saved = Product(precision, operand(x, precision), operand(w, precision), x.dtype, w.dtype, windows)
    w_rows = saved.w.reshape(-1, O)  # (KH*KW*C/G, O)
    for part, images in windows.parts(saved.x):
        y_rows = y[images].reshape(-1, O)
        columns = part.workspace(saved.x)
        part.copy_to(columns, saved.x[images])
        for cols, o in zip(part.matrices(columns), _blocks(O, groups), strict=True):
            multiply(cols, w_rows[:, o], y_rows[:, o], precision)
    return y, saved


def product_gradients(dz: Any, saved: Product, input_grad: bool) -> tuple[Any, Any]:
    """dx (None without ``input_grad``) and dw, for the gradient dz of the convolution alone."""
    precision, x, w, x_dtype, w_dtype, windows = saved
    xp, O = array_module(dz), w.shape[3]
    dz = operand(dz, precision)
    dw = xp.empty(w.shape, w_dtype)
    dx: Any = xp.empty_like(x) if input_grad else None
    w_rows, dw_rows = w.reshape(-1, O), dw.reshape(-1, O)  # (KH*KW*C/G, O)
    blocks = _blocks(O, windows.G)
    for part, images in windows.parts(x):
        dz_rows = dz[images].reshape(-1, O)
        columns = part.workspace(x)
        part.copy_to(columns, x[images])
        for cols, o in zip(part.matrices(columns), blocks, strict=True):
            multiply(cols, dz_rows[:, o], dw_rows[:, o], precision, transpose_a=True, accumulate=images.start > 0)
        if input_grad:  # the columns have served: their gradients take their place
            for dcols, o in zip(part.matrices(columns), blocks, strict=True):
                multiply(dz_rows[:, o], w_rows[:, o], dcols, precision, transpose_b=True)
            part.gather_from(columns, dx[images])
    return dx if dx is None or dx.dtype == x_dtype else widened(dx), dw


def conv2d_relu_backward(dy: Any, saved: Any, input_grad: bool = True) -> tuple[Any, Any, Any]:
    """See the reference book."""
    if saved[0] == "reference":
        return reference.conv2d_relu_backward(dy, saved[1], input_grad)
    return conv2d_backward(dy, saved, input_grad)


def _blocks(O: int, groups: int) -> list[slice]:
    """Each group's output channels."""
    return [slice(g * O // groups, (g + 1) * O // groups) for g in range(groups)]


@dataclass(frozen=True)
class _Windows:
    """Where windows lie on images, and the kernels of conv.cu there. Columns are (G, N*OH*OW, pitch)."""

    N: int
    H: int
    W: int
    C: int
    OH: int
    OW: int
    KH: int
    KW: int
    SH: int
    SW: int
    PT: int
    PL: int
    G: int = 1

    @classmethod
    def over(
        cls, shape: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool = False, groups: int = 1
    ) -> "_Windows":
        """For images of this shape."""
        N, H, W, C = shape
        (KH, KW), (SH, SW), (vertical, horizontal) = pair(kernel_size), pair(stride), padding_pairs(padding)
        OH, OW = output_size(H, KH, SH, vertical, ceil_mode), output_size(W, KW, SW, horizontal, ceil_mode)
        return cls(N, H, W, C, OH, OW, KH, KW, SH, SW, vertical[0], horizontal[0], groups)

    @property
    def in_window(self) -> int:
        """Elements that one group sees of a window: the length of a row of columns."""
        return self.KH * self.KW * self.C // self.G

    def parts(self, x: Any) -> Iterator[tuple["_Windows", slice]]:
        """The batch in parts whose columns fit into WORKSPACE."""
        of_an_image = self.G * self.OH * self.OW * self._pitch(x) * x.dtype.itemsize
        step = max(1, WORKSPACE // of_an_image)
        for n in range(0, self.N, step):
            images = slice(n, min(n + step, self.N))
            yield replace(self, N=images.stop - n), images

    def workspace(self, x: Any) -> Any:
        """Room for the columns of x: (G, N*OH*OW, pitch). Overwritten by the next call."""
        return _workspace((self.G, self.N * self.OH * self.OW, self._pitch(x)), x)

    def matrices(self, columns: Any) -> list[Any]:
        """Each group's columns: (N*OH*OW, KH*KW*C/G)."""
        return [columns[g, :, : self.in_window] for g in range(self.G)]

    def copy_to(self, cols: Any, x: Any, pad: float = 0.0) -> None:
        """im2col: x (N, H, W, C) into columns."""
        wide = width(self.C // self.G, x, cols)
        pixels = self.KW if self.G == 1 else 1  # of a run: see conv.cu
        count = self.OW * self.KH * (self.KW // pixels) * self.G
        grid, block = runs(self.N * self.OH, count, pixels * self.C // self.G // wide)
        launch("im2col", x, wide, grid, x, cols, *self._geometry(cols), pixels, pad, block=block)

    def gather_from(self, cols: Any, x: Any) -> None:
        """col2im: columns into x (N, H, W, C)."""
        wide = width(self.C // self.G, cols, x)
        launch("col2im", x, wide, rows(self.N * self.H, self.W * self.C // wide), cols, x, *self._geometry(cols))

    def _geometry(self, cols: Any) -> tuple[int, ...]:
        """As the kernels take it: all of the fields, and the distance between rows of columns."""
        return *astuple(self), cols.size // (self.G * self.N * self.OH * self.OW)

    def _pitch(self, x: Any) -> int:
        """Rows of columns start 16 bytes apart or a multiple: tensor cores want it so."""
        lanes = 16 // x.dtype.itemsize
        return -(-self.in_window // lanes) * lanes


_workspaces: dict[Any, list[Any]] = {}


def _workspace(shape: tuple[int, ...], like: Any) -> Any:
    """Memory that is used again and again, one for each device and stream.

    It is never given back, not even when a larger one has taken its place: recorded steps hold the address.
    """
    xp, size = array_module(like), prod(shape) * like.dtype.itemsize
    place = None if xp is np else (xp.cuda.Device().id, xp.cuda.get_current_stream().ptr)
    kept = _workspaces.setdefault(place, [])
    if not kept or kept[-1].size < size:
        kept.append(lasting(xp, max(size, WORKSPACE)))
    return kept[-1][:size].view(like.dtype).reshape(shape)
