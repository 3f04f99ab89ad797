"""Checks of the arguments that layers take."""

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def integer(where: str, name: str, value: Any, least: int = 1) -> int:
    """An int of at least ``least``; a sentence for anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{where}: {name}: expected an integer of at least {least}, got {value!r}")
    return int(value)


def integer_pair(where: str, name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """One integer for both axes, or a pair (vertical, horizontal)."""
    if not isinstance(value, Sequence):
        value = (value, value)
    if len(value) != 2:
        raise ValueError(f"{where}: {name}: expected an integer or two, got {value!r}")
    return integer(where, name, value[0], least), integer(where, name, value[1], least)


def padding(where: str, value: Any) -> tuple[Any, Any]:
    """p, (vertical, horizontal) or ((top, bottom), (left, right)); an axis is an int where both its ends are alike."""
    axes = value if isinstance(value, Sequence) else (value, value)
    if len(axes) != 2:
        expected = "p, (vertical, horizontal) or ((top, bottom), (left, right))"
        raise ValueError(f"{where}: padding: expected {expected}, got {value!r}")
    ends = [integer_pair(where, "padding", axis, least=0) for axis in axes]
    return tuple(before if before == after else (before, after) for before, after in ends)  # type: ignore[return-value]


def probability(where: str, name: str, value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{where}: {name}: expected a probability from 0 to 1, got {value!r}")
    return float(value)


def number(where: str, name: str, value: Any) -> float:
    """A number of at least 0; integers stay integers, as torch prints them."""
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value) >= 0:
        raise ValueError(f"{where}: {name}: expected a number of at least 0, got {value!r}")
    return value if isinstance(value, int) else float(value)
