"""For the tests of your own layers and kernels: Hypothesis strategies, and laws that every layer keeps.

    import numpy as np
    from hypothesis import given, settings
    from alexnet_np import gradcheck, testing

    @settings(deadline=None)
    @given(testing.conv_geometries(max_groups=1), testing.seeds)
    def test_my_convolution(geometry, seed):
        rng = np.random.default_rng(seed)
        x, w = rng.standard_normal(geometry.x_shape), rng.standard_normal(geometry.w_shape)
        gradcheck.check_function(my_forward, my_backward, (x, w, geometry.stride, geometry.padding))

A geometry is drawn starting from the result: first the number of windows, their size and their stride, then the
padding and the pixels left over at the end. The size of the image follows from these. So every draw fits, none has
to be filtered out, and the size of the result is known without the code under test. Arrays are drawn as a shape and
a seed: when Hypothesis looks for a smaller counterexample, it is the shape that shrinks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .gradcheck import kink_free
from .gradcheck.form import FormError, kind
from .gradcheck.layer import LayerProblem
from .gradcheck.problem import copies, generator

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("alexnet_np.testing needs Hypothesis: pip install 'alexnet-np[test]'") from error

Ends = tuple[int, int]  # before and after


@dataclass(frozen=True)
class ConvGeometry:
    """A convolution: shapes as in kernels/reference/conv.py, padding as ((top, bottom), (left, right))."""

    x_shape: tuple[int, int, int, int]
    w_shape: tuple[int, int, int, int]
    y_shape: tuple[int, int, int, int]
    stride: tuple[int, int]
    padding: tuple[Ends, Ends]
    groups: int


@dataclass(frozen=True)
class PoolGeometry:
    """A pooling layer: x (N, H, W, C), y (N, OH, OW, C), padding as ((top, bottom), (left, right))."""

    x_shape: tuple[int, int, int, int]
    y_shape: tuple[int, int, int, int]
    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[Ends, Ends]
    ceil_mode: bool


@dataclass(frozen=True)
class _Axis:
    size: int
    windows: int
    kernel: int
    stride: int
    padding: Ends


seeds = st.integers(0, 2**32 - 1)
"""For numpy.random.default_rng."""


def arrays(shape: tuple[int, ...], dtype: Any = "float64") -> st.SearchStrategy[np.ndarray]:
    """Standard normal arrays."""
    return seeds.map(lambda seed: np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def kink_free_arrays(shape: tuple[int, ...], dtype: Any = "float64") -> st.SearchStrategy[np.ndarray]:
    """Arrays for ReLU and pooling: no ties, nothing close to 0. See gradcheck.kink_free."""
    return seeds.map(lambda seed: kink_free(shape, np.random.default_rng(seed), dtype))


@st.composite
def conv_geometries(
    draw: st.DrawFn,
    channels: int = 1,
    max_kernel: int = 4,
    max_stride: int = 3,
    max_padding: int = 5,
    max_groups: int = 3,
) -> ConvGeometry:
    """Convolutions of up to 3 images. ``max_groups=1`` for code without groups.

    The numbers of channels in a group are multiples of ``channels``, for kernels that need that. Kernel, stride and
    padding may differ between the two axes, padding also between the two ends of an axis; it may exceed the kernel.
    """
    vertical, horizontal = (draw(_axes(max_kernel, max_stride, max_padding)) for _ in range(2))
    N, groups = draw(st.integers(1, 3)), draw(st.integers(1, max_groups))
    C, O = (channels * draw(st.integers(1, 3)) for _ in range(2))  # of a group
    return ConvGeometry(
        x_shape=(N, vertical.size, horizontal.size, groups * C),
        w_shape=(vertical.kernel, horizontal.kernel, C, groups * O),
        y_shape=(N, vertical.windows, horizontal.windows, groups * O),
        stride=(vertical.stride, horizontal.stride),
        padding=(vertical.padding, horizontal.padding),
        groups=groups,
    )


@st.composite
def pool_geometries(draw: st.DrawFn, max_kernel: int = 4, max_stride: int = 3, max_channels: int = 4) -> PoolGeometry:
    """Pooling, in floor and ceil mode, with padding of at most half the window."""
    ceil_mode = draw(st.booleans())
    axes = _axes(max_kernel, max_stride, max_padding=None, ceil_mode=ceil_mode)
    vertical, horizontal = draw(axes), draw(axes)
    N, C = draw(st.integers(1, 3)), draw(st.integers(1, max_channels))
    return PoolGeometry(
        x_shape=(N, vertical.size, horizontal.size, C),
        y_shape=(N, vertical.windows, horizontal.windows, C),
        kernel_size=(vertical.kernel, horizontal.kernel),
        stride=(vertical.stride, horizontal.stride),
        padding=(vertical.padding, horizontal.padding),
        ceil_mode=ceil_mode,
    )


@st.composite
def _axes(draw: st.DrawFn, max_kernel: int, max_stride: int, max_padding: int | None, ceil_mode: bool = False) -> _Axis:
    """One axis: windows, kernel and stride first, then padding and what is left over; the image is what remains."""
    windows, kernel, stride = (
        draw(st.integers(1, 4)),
        draw(st.integers(1, max_kernel)),
        draw(st.integers(1, max_stride)),
    )
    most = kernel // 2 if max_padding is None else max_padding
    covered = (windows - 1) * stride + kernel  # by the windows; at least one pixel of it is image
    before = draw(st.integers(0, min(most, covered - 1)))
    after = draw(st.integers(0, min(most, covered - 1 - before)))
    if ceil_mode:
        # The last window hangs over the end, but starts before it.
        over = draw(st.integers(0, min(stride, kernel - after, covered - before - after) - 1))
        return _Axis(covered - over - before - after, windows, kernel, stride, (before, after))
    rest = draw(st.integers(0, stride - 1))
    return _Axis(covered + rest - before - after, windows, kernel, stride, (before, after))


def assert_adjoint(
    function: Callable[[Any], Any], adjoint: Callable[[Any], Any], x: Any, c: Any, rtol: float = 1e-12
) -> None:
    """<function(x), c> = <x, adjoint(c)>: what makes ``adjoint`` the backward pass of a linear ``function``."""
    y, dx = function(x), adjoint(c)
    assert y.shape == c.shape, f"function(x): expected the shape of c, {c.shape}, got {y.shape}"
    assert dx.shape == x.shape, f"adjoint(c): expected the shape of x, {x.shape}, got {dx.shape}"
    left, right = float((y * c).sum()), float((x * dx).sum())
    size = float(np.linalg.norm(y.ravel()) * np.linalg.norm(c.ravel()))
    assert abs(left - right) <= rtol * size, f"<function(x), c> = {left!r}, but <x, adjoint(c)> = {right!r}"


def assert_layer_laws(layer: Any, inputs: Any, training: bool = False, seed: int = 0) -> None:
    """What holds for every layer, whatever it computes. ``layer`` is as for gradcheck.check.

    ``inputs`` is x, or a tuple of several inputs, NumPy arrays in the layer's dtype; others raise TypeError. dy is
    drawn from ``seed``, and is no array that your own ``default_rng(seed)`` draws. The laws:

    - Result and gradients are finite, in the dtype of the inputs, and gradients have the shape of their tensors.
    - Inputs and dy are not written: they are read-only here.
    - A second time all is the same: gradients are written, not added. (Random masks are replayed.)
    - It is the same, too, where inputs and dy lie in memory with gaps, in Fortran order.
    - Backward is linear in dy.
    """
    inputs = tuple(map(_read_only, _checked_inputs(inputs)))
    dtype = inputs[0].dtype
    rng = generator(seed, 4)
    problem = LayerProblem(layer, inputs, training, dtype.name)

    def forward(inputs: tuple[np.ndarray, ...]) -> np.ndarray:
        y = problem.run_forward(*inputs)
        assert isinstance(y, np.ndarray | np.generic), f"{problem.op}: y: expected an array, got {kind(y)}"
        return np.array(y)

    def run(inputs: tuple[np.ndarray, ...], dy: np.ndarray) -> dict[str, Any]:
        y = forward(inputs)
        assert y.shape == dy.shape, f"{problem.op}: y: expected the shape of the first time, {dy.shape}, got {y.shape}"
        try:
            gradients = copies(problem.run_backward(dy))
        except FormError as error:
            raise AssertionError(f"{problem.op}: {error.tensor}: {error}") from None
        return {"y": y, **dict(zip(problem.names, gradients, strict=True))}

    def compare(found: dict[str, Any], expected: dict[str, Any], law: str) -> None:
        for name, array in expected.items():
            rtol = 100 * float(np.finfo(dtype).eps)
            atol = rtol * float(np.abs(array).max(initial=0))
            np.testing.assert_allclose(found[name], array, rtol, atol, err_msg=f"{problem.op}: {name}: {law}")

    try:
        shape = forward(inputs).shape
        dy, other = (_read_only(rng.standard_normal(shape).astype(dtype)) for _ in range(2))
        results = run(inputs, dy)
        shapes = {"y": shape, **{name: value.shape for name, value in problem.items()}}
        for name, array in results.items():
            assert array is not None, f"{problem.op}: {name}: expected a gradient, got None"
            assert array.dtype == dtype, f"{problem.op}: {name}: expected {dtype}, got {array.dtype}"
            wanted = shapes[name]
            assert array.shape == wanted, f"{problem.op}: {name}: expected shape {wanted}, got {array.shape}"
            assert np.isfinite(array).all(), f"{problem.op}: {name}: expected finite numbers, got NaN or infinity"
        compare(run(inputs, dy), results, "expected the same a second time")
        spread = run(tuple(map(_spread, inputs)), _spread(dy))
        compare(spread, results, "expected the same for arrays with gaps, in Fortran order")

        second = run(inputs, other)
        combined = {name: 2 * array + second[name] for name, array in results.items() if name != "y"}
        compare(run(inputs, np.asarray(2 * dy + other)), combined, "expected a backward that is linear in dy")
    finally:
        problem.restore()


def _checked_inputs(inputs: Any) -> tuple[np.ndarray, ...]:
    """The inputs as a tuple. TypeError where they are no arrays of numbers that have a gradient."""
    several = isinstance(inputs, tuple)
    if several and not inputs:
        raise TypeError("assert_layer_laws: inputs: expected x, or a tuple of several inputs, got an empty tuple")
    for i, array in enumerate(inputs if several else (inputs,)):
        where = f"assert_layer_laws: {f'inputs[{i}]' if several else 'inputs'}"
        if not isinstance(array, np.ndarray):
            advice = "np.asarray(value, dtype) makes one, with the layer's dtype; several inputs are a tuple"
            raise TypeError(f"{where}: expected a NumPy array, got {kind(array)}: {advice}")
        if array.dtype.kind not in "fc":
            advice = "only real numbers have a gradient: convert by x.astype('float32'), or to the layer's dtype"
            raise TypeError(f"{where}: expected float32 or float64, got {array.dtype}: {advice}")
    return inputs if several else (inputs,)


def _read_only(array: Any) -> np.ndarray:
    copy = np.array(array)
    copy.flags.writeable = False
    return copy


def _spread(array: np.ndarray) -> np.ndarray:
    """The same numbers with gaps between them, in Fortran order and read-only."""
    wide = np.zeros([2 * n for n in array.shape], array.dtype, order="F")
    every_second: tuple[Any, ...] = (..., *[slice(None, None, 2)] * array.ndim)  # ...: without axes it stays an array
    spread = wide[every_second]
    spread[...] = array
    spread.flags.writeable = False
    return spread
