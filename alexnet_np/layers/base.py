"""What every layer has: parameters, sublayers, what forward saved for backward, checks that speak in sentences.

Shapes, here and in all layers: images are (N, H, W, C), vectors (N, features).
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import count
from typing import Any, NamedTuple, Self

import numpy as np

from .. import backend as backends
from .parameter import Parameter
from .tree import PLAIN, Place, Tree

Shape = tuple[int, ...]

DTYPES = ("float32", "float64", "complex128")  # the last for complex-step gradient checks


class Saved(NamedTuple):
    """What a forward saved for backward."""

    shape: Shape  # of y
    dtype: Any  # of y
    value: Any  # what backward needs
    kernel: str  # the kernel that saved it, where a layer was computed together with those after it; else ""
    number: int  # of the forward: no two have the same


_numbers = count(1)


class Layer:
    """A differentiable function with parameters.

    A subclass calls a pair of kernels in ``forward`` and ``backward``, and says in ``output_shape``
    what it makes of a shape. Those of this package contain no arithmetic of their own; docs/gradcheck.md has
    one that does.

    Attributes that are parameters or layers belong to the layer: it trains, moves and is saved with them. Layers in a
    list are refused: give each an attribute, or put them into a ``Sequential``. For ``weights.export_onnx`` a subclass
    defines ``to_onnx(graph, x, shape)``: see weights/onnx_graph.py.
    """

    def __init__(self) -> None:
        self.backend = backends.get("cpu")
        self._saved: Saved | None = None

    # ---- what a subclass defines

    def forward(self, x: Any, training: bool = False) -> Any:
        """y = f(x). What backward needs is saved until backward takes it."""
        raise NotImplementedError

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        """Return dx, given dy, and write ``grad`` of every trainable parameter.

        ``accumulate`` adds to the gradients that are there. Without ``input_grad`` the layer may skip
        dx and return None.
        """
        raise NotImplementedError

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of forward's result for an input of this shape, nothing computed. ValueError if it does not fit."""
        return shape

    def macs(self, shape: Shape) -> int:
        """Multiply-adds of a forward for an input of this shape (bias and comparisons not counted).

        NotImplementedError where a layer with parameters or sublayers does not say.
        """
        if Tree(self).parameters():
            raise NotImplementedError(f"{self.label}: macs: not known: define macs(shape) in {type(self).__name__}")
        return 0

    def extra_repr(self) -> str:
        """The arguments in the repr, written as torch writes them."""
        return ""

    @property
    def label(self) -> str:
        """How error messages call the layer."""
        has_layers = any(isinstance(value, Layer) for value in vars(self).values())
        return type(self).__name__ if has_layers else repr(self)

    # ---- what it gets for that

    @property
    def kernels(self) -> Any:
        return self.backend.kernels

    def new_parameter(self, name: str, data: Any) -> Parameter:
        """For __init__: an array that is learned, on the layer's device. ``parameters`` finds it as an attribute."""
        return Parameter(name, self.backend.asarray(data), self.backend)

    def keep(self, y: Any, saved: Any, kernel: str = "") -> Any:
        """Keep what backward needs, and return y."""
        self._saved = Saved(y.shape, y.dtype, saved, kernel, next(_numbers))
        return y

    def recall(self, dy: Any, kernel: str = "") -> Any:
        """What forward kept, once: a second backward needs a second forward."""
        if self._saved is None:
            raise RuntimeError(self._no_forward(frozen=not all(p.requires_grad for p in self._own_parameters())))
        saved = self._saved
        if saved.kernel != kernel:
            raise RuntimeError(
                f"{self.label}: backward: forward computed it {_how(saved.kernel)}, backward is asked {_how(kernel)}: "
                "call backward of the container whose forward ran, with the layers that it had"
            )
        self.check_dy(dy, saved.shape, saved.dtype)
        self._saved = None
        return saved.value

    def check_dy(self, dy: Any, shape: Shape, dtype: Any) -> None:
        """Refuse a dy that is no array like y."""
        self._check_array("dy", dy, [_dtype_name(dtype)])
        if dy.shape != shape:
            raise ValueError(f"{self.label}: dy: expected shape {shape}, got {dy.shape}")

    def _no_forward(self, frozen: bool = False) -> str:
        hint = " (frozen early layers need forward(..., input_grad=True))" if frozen else ""
        return f"{self.label}: backward needs a forward before it, and each forward serves one backward{hint}"

    def write_grads(self, accumulate: bool, dx: Any, *grads: Any) -> Any:
        """Hand the layer's own parameters their gradients, and return dx.

        Without a bias there is one gradient more, None.
        """
        parameters = self._own_parameters()
        if len(grads) < len(parameters) or any(grad is not None for grad in grads[len(parameters) :]):
            names = ", ".join(parameter.own_name for parameter in parameters) or "none"
            raise ValueError(f"{self.label}: write_grads: expected a gradient for each of {names}, got {len(grads)}")
        for parameter, grad in zip(parameters, grads, strict=False):
            parameter.write_grad(grad, accumulate)
        return dx

    def check_input(self, x: Any) -> None:
        """Refuse an x of another library, dtype or shape than this layer takes."""
        self._check_input(x, next(iter(self._own_parameters()), None))

    def _check_input(self, x: Any, first: Parameter | None) -> None:
        """Refuse an x of another dtype than that of a parameter, or of a shape that does not fit."""
        dtypes = [*DTYPES] if first is None else [_dtype_name(first.data.dtype)]
        # With precision "bfloat16" activations have it, and weights have float32.
        self._check_array("x", x, [*dtypes, "bfloat16"] if self.backend.precision == "bfloat16" else dtypes)
        with suppress(NotImplementedError):  # nobody knows what a forward of one's own makes of it
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
        try:
            return _text(self, [*Tree(self).places])
        except (TypeError, ValueError):  # a tree that is refused elsewhere, with a sentence
            return f"{type(self).__name__}(...)"

    @property
    def children(self) -> dict[str, "Layer"]:
        """The layers that are attributes of this one, by the attribute's name."""
        return Tree(self).children()

    @children.setter
    def children(self, children: Any) -> None:
        where = type(self).__name__
        raise TypeError(f"{where}: children: expected each layer as an attribute of its own, or a layers.Container")

    def walk(self, name: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Every layer that computes, with its path: the ``steps``, and after each the layers inside it.

        A container that only calls its children in turn is left out.
        """
        return ((place.path, place.layer) for place in Tree(self, name).places if not place.is_chain)

    def steps(self, name: str = "") -> Iterator[tuple[str, "Layer"]]:
        """What is called one after another, with its path: the layer itself, or the children of a chain.

        A chain is a container with Container's own forward and backward. Chains among the children of a chain count as
        their children.
        """
        return ((place.path, place.layer) for place in Tree(self, name).places if place.step is place)

    @property
    def is_chain(self) -> bool:
        """Whether the layer does no more than to call its children in turn."""
        return False

    def parameters(self) -> list[Parameter]:
        """The parameters of the layer and its sublayers: weight, then bias.

        Their ``name`` becomes the path from here, unless it is the path from a larger network already. A subclass whose
        parameters are no attributes lists them here. It cannot hide those of sublayers: a container finds them, too.
        """
        overridden = type(self).parameters is not Layer.parameters  # and calls this one: it lists its own itself
        named = Tree(self, listed=not overridden).named_parameters()
        for path, parameter in named:
            parameter.show_as(path)
        return [parameter for _, parameter in named]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Path and parameter, of the layer and its sublayers, as the tree is now. torch's name.

        ValueError where two layers have the same layer or parameter, or two parameters the same path.
        """
        return Tree(self).named_parameters()

    def _own_parameters(self) -> list[Parameter]:
        """Those that are attributes of the layer; where a subclass lists its parameters itself, those it lists."""
        if type(self).parameters is Layer.parameters:
            attributes = [value for value in vars(self).values() if value.__class__ not in PLAIN]
            if not any(isinstance(value, Layer) for value in attributes):
                return [value for value in attributes if isinstance(value, Parameter)]
        return [parameter for place, parameter in Tree(self).owners() if place.layer is self]

    @property
    def learns(self) -> bool:
        """Whether any of the parameters is trainable: False for a layer without."""
        return any(parameter.requires_grad for parameter in Tree(self).parameters())

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False), or make them trainable; in place, returns the layer. torch's name."""
        for parameter in Tree(self).parameters():
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
        tree = Tree(self)
        tree.refuse_hidden()
        self.forget()
        for layer in tree.layers()[1:]:
            if type(layer).to is not Layer.to:
                layer.to(device, dtype, algorithm, precision)
        for parameter in tree.parameters():
            parameter.to(backend, dtype or parameter.data.dtype)
        for layer in tree.layers():
            layer._move(backend)
        return self

    def _move(self, backend: backends.Backend) -> None:
        """Of the layer alone, without sublayers and parameters."""
        self.backend = backend

    @property
    def has_saved(self) -> bool:
        """Whether the layer or one of its sublayers has something saved for backward."""
        return any(layer._saved is not None for layer in Tree(self).layers())

    def forget(self) -> None:
        """Drop what forward saved for backward: last layer first, so that a backward after half of it is refused."""
        for layer in reversed(Tree(self).layers()):
            layer._forget()

    def _forget(self) -> None:
        """Of the layer alone."""
        self._saved = None

    def _check_array(self, name: str, array: Any, dtypes: Sequence[str]) -> None:
        xp = self.backend.xp
        if not isinstance(array, xp.ndarray):
            got = type(array).__name__
            raise TypeError(f"{self.label} on {self.backend.device}: {name}: expected a {xp.__name__} array, got {got}")
        if _dtype_name(array.dtype) not in dtypes:
            raise TypeError(f"{self.label}: {name}: expected dtype {' or '.join(dtypes)}, got {array.dtype}")


@cache
def _dtype_name(dtype: Any) -> str:
    """NumPy puts the name together anew each time, which takes longer than a layer's other checks."""
    return str(dtype.name)


def _how(kernel: str) -> str:
    return f"together with the layers after it ({kernel})" if kernel else "alone"


def _text(layer: Layer, places: Sequence[Place]) -> str:
    """The repr of a layer in a tree; of one with a repr of its own, that."""
    if layer is not places[0].layer and type(layer).__repr__ is not Layer.__repr__:
        return repr(layer)
    arguments = layer.extra_repr()
    below = [place for place in places if place.above and place.above.layer is layer]
    if not below:
        return f"{type(layer).__name__}({arguments})"
    lines = [arguments] if arguments else []
    listed = [place for place in below if getattr(place.layer, "listed", True)]
    lines += [f"({place.path.rpartition('.')[2]}): {_text(place.layer, places)}" for place in listed]
    body = "\n".join(lines).replace("\n", "\n  ")
    return f"{type(layer).__name__}(\n  {body}\n)"


def every_layer(root: Layer, name: str = "") -> list[tuple[str, Layer]]:
    """The layer and all below it, with their paths, each before those below it. Errors: see ``Tree``."""
    return [(place.path, place.layer) for place in Tree(root, name).places]
