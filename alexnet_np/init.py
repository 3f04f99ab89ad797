"""How weights start: three published rules, always named, never implicit.

    torch   weights and biases uniform in +-1/sqrt(fan_in)       torch.nn.Conv2d and Linear (Kaiming uniform, a = sqrt 5)
    keras   weights uniform in +-sqrt(6/(fan_in + fan_out)), biases 0             (Glorot & Bengio 2010, eq. 16)
    paper   weights normal with standard deviation 0.01; biases 1 or 0        (Krizhevsky et al. 2012, section 5)

fan_in and fan_out are the number of inputs of an output and of outputs of an input: KH*KW*C/G and
KH*KW*O/G in a convolution (Keras's definition), the numbers of features in a linear layer.
"""

from collections.abc import Callable
from math import prod, sqrt
from typing import Any, TypeAlias

import numpy as np

Rule: TypeAlias = Callable[[np.random.Generator, tuple[int, ...]], tuple[Any, Any]]
"""(rng, shape of the weight) -> weight, bias in float32. Shapes end in (inputs, outputs)."""


def torch(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Weights and biases uniform in +-1/sqrt(fan_in)."""
    bound = 1 / sqrt(prod(shape[:-1]))
    return _uniform(rng, bound, shape), _uniform(rng, bound, shape[-1:])


def keras(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Glorot uniform weights, zero biases."""
    field = prod(shape[:-2])
    bound = sqrt(6 / (field * shape[-2] + field * shape[-1]))
    return _uniform(rng, bound, shape), np.zeros(shape[-1:], np.float32)


def normal(std: float, bias: float) -> Rule:
    """The rule with normal weights of this standard deviation and constant biases."""

    def rule(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, Any]:
        weight = rng.standard_normal(shape, dtype=np.float32)
        weight *= np.float32(std)
        return weight, np.full(shape[-1:], bias, np.float32)

    return rule


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Zero weights and biases: for weights that will be loaded."""
    return np.zeros(shape, np.float32), np.zeros(shape[-1:], np.float32)


RULES: dict[str, Rule] = {"torch": torch, "keras": keras, "paper": normal(0.01, bias=0), "zeros": zeros}


def rule(init: str | Rule) -> Rule:
    """A rule by its name, or the rule itself."""
    if callable(init):
        return init
    if init not in RULES:
        raise ValueError(f"init: expected one of {', '.join(RULES)} or a rule, got {init!r}")
    return RULES[init]


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...]) -> Any:
    values = rng.random(shape, dtype=np.float32)
    values *= np.float32(2 * bound)
    values -= np.float32(bound)
    return values
