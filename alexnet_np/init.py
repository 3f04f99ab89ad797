"""How weights start: three published rules and one for weights that will be loaded, always by name.

    torch   weights and biases uniform in +-1/sqrt(fan_in)                  torch.nn.Conv2d and Linear
    keras   weights uniform in +-sqrt(6/(fan_in + fan_out)), biases 0       Glorot & Bengio 2010, eq. 16
    paper   weights normal with standard deviation 0.01, biases 0 or 1      Krizhevsky et al. 2012, section 5
    zeros   weights and biases 0

fan_in is how many inputs an output has: KH*KW*C/G in a convolution, the input features of a linear layer.
fan_out is KH*KW*O, or the output features. (torch calls its rule Kaiming uniform with a = sqrt 5. The paper's
biases depend on the layer: 0 here, and the networks in models.py say where 1 stands.)
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
