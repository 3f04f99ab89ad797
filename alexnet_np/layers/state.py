"""Values by name into the parameters of a layer: all of them, or none where one does not fit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .base import Layer

MOST = 16  # names in a message


def load_state(layer: "Layer", state: Mapping[str, Any], strict: bool = True) -> list[str]:
    """Take over name -> array in this project's layouts; everything is checked before anything is changed."""
    if not isinstance(state, Mapping):
        raise TypeError(f"state dict: expected a dict of names and arrays, got {type(state).__name__}")
    shapes = {name: parameter.data.shape for name, parameter in layer.named_parameters()}
    check_names(shapes, state)
    kept = check_shapes(shapes, state, -1, strict)
    take(layer, {name: state[name] for name in shapes if name not in kept})
    return kept


def take(layer: "Layer", values: Mapping[str, Any]) -> None:
    """Copy values of the right shapes into the parameters of these names: all or, where one is no numbers, none."""
    parameters = {name: p for name, p in layer.named_parameters() if name in values}
    arrays = {}
    for name, parameter in parameters.items():
        _check_dtype(name, values[name], "fc" if parameter.data.dtype.kind == "c" else "f")
        with naming(name):
            arrays[name] = parameter.backend.asarray(values[name], parameter.data.dtype)
    for name, parameter in parameters.items():
        parameter.data[...] = arrays[name]


def _check_dtype(name: str, array: Any, kinds: str) -> None:
    """Refuse integers, which may be quantised numbers or a mistake, and complex numbers that would lose a part."""
    dtype = getattr(array, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind in "biuc" and dtype.kind not in kinds:
        raise ValueError(f"state dict: {name}: expected floating-point numbers, got {dtype}")


def check_names(expected: Mapping[str, Any], got: Mapping[str, Any]) -> None:
    missing, unknown = sorted(expected.keys() - got.keys()), sorted(got.keys() - expected.keys())
    if missing or unknown:
        parts = [f"{kind} {_few(names)}" for kind, names in (("missing", missing), ("unknown", unknown)) if names]
        raise KeyError(f"state dict: {'; '.join(parts)}")


def _few(names: Sequence[str]) -> str:
    """The first of many names, which may come from a stranger's file."""
    more = f" and {len(names) - MOST:,} more" if len(names) > MOST else ""
    return ", ".join(f"{name:.100}" for name in names[:MOST]) + more


def check_shapes(
    expected: dict[str, tuple[int, ...]], state: Mapping[str, Any], classes_axis: int, strict: bool
) -> list[str]:
    """The names of the last layer where it has another number of classes, and may have. ValueError otherwise."""
    last_layer = next(reversed(expected), "").rpartition(".")[0]
    in_last = [name for name in expected if name.rpartition(".")[0] == last_layer]
    kept = []
    for name, shape in expected.items():
        got = tuple(np.shape(state[name]))
        if got == shape:
            continue
        if not strict and name in in_last and _alike_but_for(classes_axis, got, shape):
            kept = in_last
            continue
        hint = " (another num_classes?)" if name in in_last else ""
        raise ValueError(f"state dict: {name}: expected shape {shape}, got {got}{hint}")
    return kept


def _alike_but_for(axis: int, got: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    free = axis % max(len(shape), 1)
    return len(got) == len(shape) and all(g == s for i, (g, s) in enumerate(zip(got, shape, strict=True)) if i != free)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Say of which array it is that a conversion failed."""
    try:
        yield
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"state dict: {name}: expected an array of numbers ({error})") from error
