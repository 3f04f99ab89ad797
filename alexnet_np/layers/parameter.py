"""Parameter: an array that is learned, and its gradient. Both are checked where they are assigned."""

from typing import Any

import numpy as np

from .. import backend as backends

HINTS = {
    "data": "load_torch_state_dict takes torch's layouts",
    "grad": "a gradient has the shape of its parameter",
}


class Parameter:
    """An array that is learned.

    ``data`` is its value and ``grad`` the gradient that backward wrote (None before the first backward). What is
    assigned to them must have the shape and dtype of ``data`` and be an array of the parameter's device. A layer's
    ``to`` changes device and dtype.

    ``name`` is the parameter's path ("features.0.weight") in the largest network whose ``parameters()`` was called.

    With ``requires_grad`` set to False it is frozen, as in torch: backward writes no gradient, and optimizers
    leave it as it is.

    Raises:
        TypeError: not an array of the device, or another dtype.
        ValueError: another shape.

    Example:
        >>> from alexnet_np import layers
        >>> layer = layers.Linear(3, 2)
        >>> layer.weight.data.shape
        (3, 2)
    """

    def __init__(self, name: str, data: Any, backend: backends.Backend) -> None:
        self.own_name = name
        self._path = name
        self._data = data
        self._grad: Any = None
        self.requires_grad = True
        self.backend = backend

    @property
    def name(self) -> str:
        return self._path

    @name.setter
    def name(self, name: str) -> None:
        self.own_name = self._path = name

    def show_as(self, path: str) -> None:
        """Set ``name`` to a path in a tree of layers, unless it is that in a larger tree. ``own_name`` stays."""
        if not self._path.endswith(f".{path}"):
            self._path = path

    @property
    def data(self) -> Any:
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._data = self._checked("data", data)

    @property
    def grad(self) -> Any:
        return self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        self._grad = None if grad is None else self._checked("grad", grad)

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, {tuple(self.data.shape)}, {self.data.dtype}, {self.backend.device})"

    def to(self, backend: backends.Backend, dtype: Any) -> None:
        """Move to a device and dtype; the gradient is dropped, and with it an imaginary part where dtype is real."""
        data = self.data if np.dtype(dtype).kind == "c" else self.data.real
        self._data = backend.asarray(data, dtype)
        self._grad = None
        self.backend = backend

    def write_grad(self, grad: Any, accumulate: bool) -> None:
        """The rule for all of backward: gradients are written, and added only where accumulate says so."""
        if not self.requires_grad:
            return
        if accumulate and self._grad is not None:
            self._grad += self._checked("grad", grad)
        else:
            self.grad = grad

    def _checked(self, what: str, array: Any) -> Any:
        """The array, if it is one that can stand for ``data`` or its gradient."""
        xp, expected = self.backend.xp, self._data
        if isinstance(array, np.generic):  # NumPy's result where an array without axes is computed with
            array = xp.asarray(array)
        if not isinstance(array, xp.ndarray):
            wanted = f"a {xp.__name__} array of shape {tuple(expected.shape)}"
            raise TypeError(f"{self.name}.{what}: expected {wanted}, got {type(array).__name__}")
        if array.shape != expected.shape:
            shapes = f"expected shape {tuple(expected.shape)}, got {tuple(array.shape)}"
            raise ValueError(f"{self.name}.{what}: {shapes} ({HINTS[what]})")
        if array.dtype != expected.dtype:
            advice = "layer.to(device, dtype) changes the dtype of a layer"
            raise TypeError(f"{self.name}.{what}: expected dtype {expected.dtype}, got {array.dtype} ({advice})")
        return array
