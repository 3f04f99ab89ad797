"""Dropout: kernels/reference/dropout.py has the kernels."""

from typing import Any

import numpy as np

from ..backend import Backend
from .arguments import probability
from .base import Layer


class Dropout(Layer):
    """In training, each element becomes 0 with probability p; any shape.

    Inverted by default: those that stay are multiplied by 1/(1 - p), and outside training forward is
    the identity. With ``inverted=False``, as in 2012, they stay as they are, and outside training
    everything is multiplied by 1 - p.

    Masks come from ``rng``, and so differ from run to run without one. ``inplace`` is torch's: see ReLU.
    """

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        inverted: bool = True,
        rng: np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.p = probability("Dropout", "p", p)
        self.inplace = inplace
        self.inverted = inverted
        self.rng: Any = np.random.default_rng(rng)

    def forward(self, x: Any, training: bool = False) -> Any:
        self.check_input(x)
        if training and self.p > 0:
            return self.keep(*self.kernels.dropout_forward(x, self.p, self.rng, self.inverted))
        return self.keep(self._at_test_time(x), None)

    def backward(self, dy: Any, accumulate: bool = False, input_grad: bool = True) -> Any:
        saved = self.recall(dy)
        return self._at_test_time(dy) if saved is None else self.kernels.dropout_backward(dy, saved)

    def _at_test_time(self, x: Any) -> Any:
        return x if self.inverted or self.p == 0 else x * x.dtype.type(1 - self.p)

    def _move(self, backend: Backend) -> None:
        super()._move(backend)
        self.rng = backend.generator(self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}" + ("" if self.inverted else ", inverted=False")
