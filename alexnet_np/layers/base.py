"""What every layer has: parameters, what forward saved for backward, checks that speak in sentences.

Shapes, here and in all layers: images are (N, H, W, C), vectors (N, features).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from .. import backend as backends

Shape = tuple[int, ...]

DTYPES = ("float32", "float64", "complex128")  # the last for complex-step gradient checks


class Parameter:
    """An array that is learned.

    ``name`` is its path in the network ("features.0.weight"), ``data`` its value and ``grad`` the
    gradient that backward wrote, of the same shape and dtype (None before the first backward).

    With ``requires_grad`` set to False it is frozen, as in torch: backward writes no gradient, and optimisers
    leave it as it is.
    """

    def __init__(self, name: str, data: Any, backend: backends.Backend) -> None:
        self.name = name
        self.data = data
        self.grad: Any = None
        self.requires_grad = True
        self.backend = backend

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {tuple(self.data.shape)}, {self.data.dtype}, {self.backend.device})"

    def to(self, backend: backends.Backend, dtype: Any) -> None:
        """Move to a device and dtype; the gradient is dropped, and with it an imaginary part where dtype is real."""
        data = self.data if np.dtype(dtype).kind == "c" else self.data.real
        self.data = backend.asarray(data, dtype)
        self.grad = None
        self.backend = backend

    def write_grad(self, grad: Any, accumulate: bool) -> None:
        """The rule for all of backward: gradients are written, and added only where accumulate says so."""
        if not self.requires_grad:
            return
        if accumulate and self.grad is not None:
            self.grad += grad
        else:
            self.grad = grad


class Layer:
    """A differentiable function with parameters.

    A subclass calls a pair of kernels in ``forward`` and ``backward``, and says in ``output_shape``
    what it makes of a shape. Those of this package contain no arithmetic of their own; docs/gradcheck.md has
    one that does.
    """

    def __init__(self) -> None:
        self.backend = backends.get("cpu")
        self._saved: tuple[Shape, Any, Any] | None = None  # shape and dtype of y, what backward needs

    # ---- what a subclass defines

    def forward(self, x: Any, training: bool = False) -> Any:
        """y = f(x). What backward needs is kept until backward takes it."""
        raise NotImplementedError

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        """The gradient with respect to x, given that with respect to y; writes ``grad`` of every parameter that learns.

        ``accumulate`` adds to the gradients that are there. Without ``input_grad`` the layer may skip
        dx and return None.
        """
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of forward's result for an input of this shape, nothing computed. ValueError if it does not fit."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-adds of a forward for an input of this shape (bias and comparisons not counted)."""
        return 0

    def extra_repr(self) -> str:
        """The arguments in the repr, written as torch writes them."""
        return ""

    @property
    def label(self) -> str:
        """How error messages call the layer."""
        return repr(self)

    # ---- what it gets for that

    @property
    def kernels(self) -> Any:
        return self.backend.kernels

    def new_parameter(self, name: str, data: Any) -> Parameter:
        """For __init__: an array that is learned, on the layer's device. ``parameters`` finds it as an attribute."""
        return Parameter(name, self.backend.asarray(data), self.backend)

    def keep(self, y: Any, saved: Any) -> Any:
        """Keep what backward needs, and return y."""
        self._saved = (y.shape, y.dtype, saved)
        return y

    def recall(self, dy: Any) -> Any:
        """What forward kept, once: a second backward needs a second forward."""
        if self._saved is None:
            raise RuntimeError(
                f"{self.label}: backward needs a forward before it, and each forward serves one backward (what lies "
                "below the first layer that learns serves it only after forward(..., input_grad=True))"
            )
        shape, dtype, saved = self._saved
        self._check_array("dy", dy, [dtype.name])
        if dy.shape != shape:
            raise ValueError(f"{self.label}: dy: expected shape {shape}, got {dy.shape}")
        self._saved = None
        return saved

    def write_grads(self, accumulate: bool, dx: Any, *grads: Any) -> Any:
        """Hand the parameters their gradients, and return dx. Without a bias there is one gradient more, None."""
        for parameter, grad in zip(self.parameters(), grads, strict=False):
            parameter.write_grad(grad, accumulate)
        return dx

    def check_input(self, x: Any) -> None:
        """Refuse an x of another library, dtype or shape than this layer takes."""
        dtypes = [p.data.dtype.name for p in self.parameters()[:1]] or [*DTYPES]
        # With precision "bfloat16" activations have it, and weights have float32.
        self._check_array("x", x, [*dtypes, "bfloat16"] if self.backend.precision == "bfloat16" else dtypes)
        self.output_shape(x.shape)

    def check_shape(self, shape: Shape, expected: tuple[str | int, ...]) -> None:
        """expected names free axes and gives the size of fixed ones: ("N", "H", "W", 64)."""
        same = [isinstance(e, str) or e == s for s, e in zip(shape, expected, strict=False)]
        if len(shape) != len(expected) or not all(same):
            raise ValueError(f"{self.label}: expected ({', '.join(map(str, expected))}), got {tuple(shape)}")

    # ---- what all layers have

    def __call__(self, x: Any, training: bool = False) -> Any:
        return self.forward(x, training)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def walk(self, name: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Every layer that computes, with its path, in the order of forward."""
        yield name, self

    def parameters(self) -> list[Parameter]:
        """The layer's parameters: weight, then bias."""
        return [value for value in vars(self).values() if isinstance(value, Parameter)]

    @property
    def learns(self) -> bool:
        """Whether any of the parameters does: False for a layer without."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False), or let them learn again; in place, returns the layer. torch's name."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self, device: str, dtype: Any = None, algorithm: str = "auto", precision: str = "float32") -> Self:
        """Move to "reference", "cpu" or "gpu", and to a dtype; in place, returns the layer.

        Gradients and what forward saved are dropped. The dtype stays where none is given. ``algorithm``, for
        "cpu": "winograd" or "im2col" for every convolution that it can compute, instead of the quicker one.
        ``precision``, for "gpu": "tf32" or "bfloat16" for the products of float32, on tensor cores.
        """
        backend = backends.get(device, algorithm, precision)
        if dtype is not None and np.dtype(dtype).name not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        for _, layer in self.walk():
            layer.backend, layer._saved = backend, None
        for parameter in self.parameters():
            parameter.to(backend, dtype or parameter.data.dtype)
        return self

    @property
    def has_saved(self) -> bool:
        """Whether a backward may follow."""
        return self._saved is not None

    def forget(self) -> None:
        """Drop what forward kept for backward."""
        self._saved = None

    def _check_array(self, name: str, array: Any, dtypes: Sequence[str]) -> None:
        xp = self.backend.xp
        if not isinstance(array, xp.ndarray):
            got = type(array).__name__
            raise TypeError(f"{self.label} on {self.backend.device}: {name}: expected a {xp.__name__} array, got {got}")
        if array.dtype.name not in dtypes:
            raise TypeError(f"{self.label}: {name}: expected dtype {' or '.join(dtypes)}, got {array.dtype}")
