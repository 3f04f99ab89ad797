"""What is checked: a layer or a pair of functions, seen as one function of named arrays."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .. import backend as backends
from .form import ADVICE

Values: TypeAlias = list[np.ndarray]
"""One array for each name, in main memory."""

Direction: TypeAlias = Mapping[int, np.ndarray]
"""For each value that moves, by its index, the step that it makes."""


class Problem:
    """y = forward(values), and the gradients that backward claims. ``names`` has one name for each value."""

    op: str
    names: list[str]
    values: Values
    backend: backends.Backend
    dtype = "float64"
    unlisted: Sequence[tuple[str, Any]] = ()  # arrays of a layer that are no parameters, with their paths

    def forward(self, values: Values, direction: Direction | None = None, t: complex = 0.0) -> np.ndarray:
        """y at values + t * direction; random masks are the same in every call."""
        raise NotImplementedError

    def backward(self, values: Values, dy: np.ndarray, clear: bool = False) -> list[Any]:
        """The gradient of <dy, y> with respect to each value, as forward and backward of the layer have it.

        Not copies. With ``clear``, gradients left from an earlier backward are set to 0 before. FormError where
        backward returns something else than a gradient for each value, or writes into what forward made.
        """
        raise NotImplementedError

    def changed(self, values: Values) -> str:
        """The name of a parameter that forward or backward has changed; "" where none has."""
        return ""

    def complex_twin(self) -> "Problem":
        """The same problem for complex values."""
        raise NotImplementedError

    def search(self) -> list[tuple[str, Any]]:
        """Arrays of a layer that are no parameters, as they are now, with their paths."""
        return []

    def items(self) -> Iterable[tuple[str, np.ndarray]]:
        """Names and values."""
        return zip(self.names, self.values, strict=True)

    def is_parameter(self, index: int) -> bool:
        """Whether the value is a parameter of a layer."""
        return False

    def where(self, index: int) -> str:
        """Where the gradient is looked for, in words, if that is not clear from its name."""
        return ""

    def restore(self) -> None:
        """Leave everything as it was found."""

    def _on_device(self, value: np.ndarray) -> Any:
        return self.backend.asarray(value, self.dtype).reshape(value.shape)  # scalars, too, keep their shape

    def _check_dtypes(self) -> None:
        for name, value in self.items():
            if value.dtype != self.dtype:
                advice = ADVICE.get(value.dtype.kind, ADVICE["f"])
                raise TypeError(f"gradcheck: {self.op}: {name}: expected {self.dtype}, got {value.dtype}: {advice}")


def generator(seed: int, *key: int) -> np.random.Generator:
    """Random numbers for a seed, which are not those of the user's own ``default_rng(seed)``.

    Otherwise the dy of the default seed would be the x of default_rng(0), and x * dy no random numbers.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0x67726164, *key)))


def copies(arrays: list[Any]) -> list[Any]:
    """The arrays in main memory, and their own: what is checked may write into what it was given."""
    return [None if array is None else np.array(backends.to_numpy(array)) for array in arrays]


def moved(values: Values, direction: Direction | None, t: complex) -> Values:
    return [value + t * direction[i] if direction and i in direction else value for i, value in enumerate(values)]
