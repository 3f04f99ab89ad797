"""Dropout on a GPU: dropout.cu. The mask is a function of a seed and a counter, and backward computes it again."""

from typing import Any

import numpy as np

from .. import reference
from ..array_module import array_module
from ..reference import checks
from .launch import all_of, contiguous, has_kernel, launch, width


class PhiloxGenerator:
    """Random numbers by Philox4x32-10: a function of a seed and of a counter, which are kept on the device.

    Each dropout takes the numbers behind the counter and moves it on, also when it is part of a recorded step.
    """

    def __init__(self, seed: int, xp: Any) -> None:
        self.numbers = xp.zeros(2, "uint64")  # the seed, and the calls of Philox so far; each makes four numbers
        self.state = {"seed": seed % 2**64, "counter": 0}

    @property
    def state(self) -> dict[str, int]:
        """What decides the numbers to come, for a checkpoint; can be set, too. Waits for the device."""
        return {"seed": int(self.numbers[0]), "counter": int(self.numbers[1])}

    @state.setter
    def state(self, state: dict[str, int]) -> None:
        numbers = np.array([state["seed"], state["counter"]], np.uint64)
        self.numbers[...] = array_module(self.numbers).asarray(numbers)  # in their place, which a recorded step holds

    def integers(self, high: int) -> int:
        """A number in 0 ... high - 1, to seed another generator with. Waits for the device, and moves the counter."""
        state = self.state
        self.state = state | {"counter": state["counter"] + 1}
        return int(np.random.default_rng([*state.values()]).integers(high))


def dropout_forward(x: Any, p: float, rng: Any, inverted: bool = True) -> tuple[Any, Any]:
    """See the reference book, whose text it is for any other generator than a PhiloxGenerator."""
    if not x.size:
        return x, ("nothing",)
    if not isinstance(rng, PhiloxGenerator) or not has_kernel(x):
        y, saved = reference.dropout_forward(x, p, rng, inverted)
        return y, ("reference", saved)
    x, used = contiguous(x), array_module(x).empty_like(rng.numbers)
    launch("take_numbers", x, 1, (1, 1), rng.numbers, used, -(-x.size // 4), block=(1, 1))
    scale = 1 / (1 - p) if inverted and p < 1 else 1.0
    return _drop(x, used, p, scale), ("gpu", x.shape, used, p, scale)


def dropout_backward(dy: Any, saved: Any) -> Any:
    """See the reference book."""
    if saved[0] == "nothing":
        return dy
    if saved[0] == "reference":
        return reference.dropout_backward(dy, saved[1])
    _, shape, *mask = saved
    checks.gradient("dropout", dy, shape)
    return _drop(contiguous(dy), *mask)


def _drop(x: Any, used: Any, p: float, scale: float) -> Any:
    y = array_module(x).empty_like(x)
    wide = min(4, width(x.size, x))
    launch("dropout", x, wide, all_of(-(-x.size // 4)), x, y, used, x.size, p, scale)
    return y
