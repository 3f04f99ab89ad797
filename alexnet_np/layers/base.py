"""What every layer has: parameters, sublayers, what forward saved for backward, checks that speak in sentences.

Shapes, here and in all layers: images are (N, H, W, C), vectors (N, features).
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import count, islice
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np

from .. import backend as backends
from .parameter import Parameter

Shape = tuple[int, ...]

T = TypeVar("T")

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
        """Multiply-adds of a forward for an input of this shape (bias and comparisons not counted).

        NotImplementedError where a layer with parameters or sublayers does not say.
        """
        if any(layer._own_parameters() for _, layer in every_layer(self)):
            raise NotImplementedError(f"{self.label}: macs: not known: define macs(shape) in {type(self).__name__}")
        return 0

    def extra_repr(self) -> str:
        """The arguments in the repr, written as torch writes them."""
        return ""

    @property
    def label(self) -> str:
        """How error messages call the layer."""
        return type(self).__name__ if self._sublayers() else repr(self)

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
            raise RuntimeError(
                f"{self.label}: backward needs a forward before it, and each forward serves one backward (what lies "
                "below the first layer that learns serves it only after forward(..., input_grad=True))"
            )
        saved = self._saved
        if saved.kernel != kernel:
            raise RuntimeError(
                f"{self.label}: backward: forward computed it {_how(saved.kernel)}, backward is asked {_how(kernel)}: "
                "call backward of the container whose forward ran, with the layers that it had"
            )
        self._check_array("dy", dy, [_dtype_name(saved.dtype)])
        if dy.shape != saved.shape:
            raise ValueError(f"{self.label}: dy: expected shape {saved.shape}, got {dy.shape}")
        self._saved = None
        return saved.value

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
        first = self._first_parameter()
        dtypes = [*DTYPES] if first is None else [_dtype_name(first.data.dtype)]
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
        lines = [self.extra_repr()] if self.extra_repr() else []
        children = self.children
        lines += [f"({name}): {child!r}" for name, child in children.items() if getattr(child, "listed", True)]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        body = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"

    @property
    def children(self) -> dict[str, "Layer"]:
        """The layers that are attributes of this one, by the attribute's name."""
        return self._sublayers()

    @children.setter
    def children(self, children: Any) -> None:
        where = type(self).__name__
        raise TypeError(f"{where}: children: expected each layer as an attribute of its own, or a layers.Container")

    def _attributes(self, kind: type[T]) -> dict[str, T]:
        return {name: value for name, value in vars(self).items() if isinstance(value, kind)}

    def walk(self, name: str = "") -> Iterator[tuple[str, "Layer"]]:
        """Every layer that computes, with its path: the ``steps``, and after each the layers inside it.

        A container that only calls its children in turn is left out.
        """
        for path, layer in every_layer(self, name):
            if not layer.is_chain:
                yield path, layer

    def steps(self, name: str = "") -> Iterator[tuple[str, "Layer"]]:
        """What is called one after another, with its path: the layer itself, or the children of a chain."""
        yield name, self

    @property
    def is_chain(self) -> bool:
        """Whether the layer does no more than to call its children in turn."""
        return False

    def parameters(self) -> list[Parameter]:
        """The parameters of the layer and its sublayers: weight, then bias. Their ``name`` is the path from here."""
        overridden = type(self).parameters is not Layer.parameters  # and calls this one: it lists its own itself
        named = self._named(self._attributes(Parameter).values(), check_self=not overridden)
        for path, parameter in named:
            parameter.show_as(path)
        return [parameter for _, parameter in named]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """Path and parameter, of the layer and its sublayers, as the tree is now. torch's name.

        ValueError where a layer, a parameter or a path is there twice.
        """
        return self._named(self._own_parameters())

    def _named(self, own: Iterable[Parameter], check_self: bool = True) -> list[tuple[str, Parameter]]:
        """The layer's own parameters and those below it, with their paths."""
        found: dict[str, Parameter] = {}
        paths: dict[int, str] = {}
        for path, layer in every_layer(self):
            if check_self or layer is not self:
                refuse_hidden_layers(path, layer)
            for parameter in own if layer is self else layer._own_parameters():
                name = _join(path, parameter.own_name)
                if id(parameter) in paths:
                    raise ValueError(
                        f"{self.label}: the same parameter is {paths[id(parameter)]!r} and {name!r}: expected each "
                        "once (a layer makes one by new_parameter)"
                    )
                if name in found:
                    raise ValueError(
                        f"{self.label}: two parameters are called {name!r}: expected each name once (new_parameter "
                        "takes the name)"
                    )
                found[name], paths[id(parameter)] = parameter, name
        return list(found.items())

    def _own_parameters(self) -> list[Parameter]:
        """Those that are attributes of the layer; where a subclass lists its parameters itself, those it lists."""
        if type(self).parameters is Layer.parameters:
            return list(self._attributes(Parameter).values())
        below = {id(p) for child in self._sublayers().values() for p in child._every_parameter()}
        return [p for p in self.parameters() if id(p) not in below]

    def _every_parameter(self) -> Iterator[Parameter]:
        """Of the layer and its sublayers. No name is changed."""
        for layer in self._parts():
            yield from layer._own_parameters()

    def _parts(self) -> Iterator["Layer"]:
        """The layer and all below it, nothing checked: ``every_layer`` does that where a tree is taken."""
        yield self
        for child in self._sublayers().values():
            yield from child._parts()

    def _first_parameter(self) -> Parameter | None:
        """The first that is found: all have the same dtype."""
        for value in vars(self).values():
            if isinstance(value, Parameter):
                return value
        below = (child._first_parameter() for child in self._sublayers().values())
        return next(filter(None, below), None)

    def _sublayers(self) -> dict[str, "Layer"]:
        """All layers directly below, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    @property
    def learns(self) -> bool:
        """Whether any of the parameters does: False for a layer without."""
        return any(parameter.requires_grad for parameter in self._every_parameter())

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False), or let them learn again; in place, returns the layer. torch's name."""
        for parameter in self._every_parameter():
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
        for path, layer in every_layer(self):
            refuse_hidden_layers(path, layer)
        self.forget()
        for child in self._sublayers().values():
            child.to(device, dtype, algorithm, precision)
        self.backend = backend
        for parameter in self._own_parameters():
            parameter.to(backend, dtype or parameter.data.dtype)
        return self

    @property
    def has_saved(self) -> bool:
        """Whether the layer or one of its sublayers holds something for backward."""
        return self._saved is not None or any(child.has_saved for child in self._sublayers().values())

    def forget(self) -> None:
        """Drop what forward kept for backward: last layer first, so that a backward after half of it is refused."""
        self._saved = None
        for child in reversed(self._sublayers().values()):
            child.forget()

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


# ---- the tree of a layer and its sublayers


def every_layer(root: Layer, name: str = "") -> list[tuple[str, Layer]]:
    """The layer and all below it, with their paths, each before those below it.

    ValueError or TypeError where a layer is there twice, where something else than a layer stands for one, or where
    an attribute hides a child.
    """
    found: list[tuple[str, Layer]] = []
    paths: dict[int, str] = {}

    def visit(path: str, layer: Layer) -> None:
        if not isinstance(layer, Layer):
            where = f"{type(root).__name__}: {path}"
            raise TypeError(f"{where}: expected a subclass of layers.Layer, got {type(layer).__name__}")
        if "_saved" not in vars(layer):
            where = f"{type(layer).__name__}.__init__"
            raise TypeError(f"{where}: expected a call of super().__init__() before anything else, got none")
        if id(layer) in paths:
            where = repr(paths[id(layer)]) if layer is not root else "the whole"
            raise ValueError(
                f"{type(root).__name__}: the same layer, {layer.label}, is {where} and {path!r}: each "
                "forward of a layer serves one backward, so make a new one for each place"
            )
        paths[id(layer)] = path
        found.append((path, layer))
        for key, child in layer._sublayers().items():
            visit(_join(path, key), child)

    visit(name, root)
    return found


SEVERAL = (list, tuple, set, dict)


def refuse_hidden_layers(path: str, layer: Layer) -> None:
    """TypeError where an attribute is a list, tuple, set or dict of layers or parameters that nothing else names."""
    containers = {name: value for name, value in vars(layer).items() if isinstance(value, SEVERAL) and name != "_saved"}
    known: set[int] | None = None
    for name, value in containers.items():
        for item in _items(value):
            if known is None:
                known = {id(part) for part in (*layer._sublayers().values(), *layer._own_parameters())}
            if id(item) not in known:
                kind, advice = (
                    ("layers", "give each an attribute of its own, or put them into a layers.Sequential")
                    if isinstance(item, Layer)
                    else ("parameters", "give each an attribute of its own, or list them in parameters()")
                )
                raise TypeError(
                    f"{_join(path, name) or name} of {type(layer).__name__}: expected no {type(value).__name__} of "
                    f"{kind}, which would not be trained, moved or saved: {advice}"
                )


def _items(value: Any, depth: int = 3) -> Iterator[Any]:
    """Layers and parameters in a nested list. Of a long one only the start is looked at: it holds data."""
    if isinstance(value, Layer | Parameter):
        yield value
    elif depth and isinstance(value, SEVERAL):
        values: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for item in islice(values, 100):
            yield from _items(item, depth - 1)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
