"""A layer as a network uses it: a container has to compute what the layer alone computes."""

from typing import Any

import numpy as np

from ..layers import Conv2d, Layer, Linear, MaxPool2d, ReLU, Sequential
from .claim import Claim
from .problem import LayerProblem, copies
from .results import GradientError, Row

TOLERANCE = 1e-9  # of the same numbers, added in another order


def check_in_network(claim: Claim) -> None:
    """GradientError where y or a gradient of the layer between others in a Sequential are not those of it alone.

    Before it a 1x1 convolution or a linear layer, after it a ReLU and a pooling: what a backend may take together.
    """
    problem = claim.problem
    if not isinstance(problem, LayerProblem) or not isinstance(problem.layer, Layer) or problem.inputs != 1:
        return
    problem.forward(problem.values)  # all parameters have their values
    x = problem.backend.asarray(problem.values[0], problem.dtype)
    layer, rng = problem.layer, np.random.default_rng(0)
    neighbours: list[Layer] = []
    if x.ndim == 4 and x.size:
        neighbours.append(Conv2d(x.shape[-1], x.shape[-1], 1, rng=rng))
    elif x.ndim == 2 and x.size:
        neighbours.append(Linear(x.shape[-1], x.shape[-1], rng=rng))
    after: list[Layer] = [ReLU(inplace=True)]
    if claim.y.ndim == 4:
        after.append(MaxPool2d(1))
    own = problem.backend
    for neighbour in (*neighbours, *after):
        neighbour.to(own.device, problem.dtype, own.algorithm, own.precision)
    chain = [*neighbours, layer, *after]
    dy = own.asarray(rng.standard_normal(claim.y.shape), problem.dtype)

    alone = _layer_by_layer(problem, chain, x, dy)
    together = _in_container(problem, chain, x, dy)
    for name, expected in alone.items():
        found = together[name]
        if expected is None and found is None:
            continue
        size = 0.0 if expected is None else float(np.abs(expected).max(initial=0))
        same = expected is not None and found is not None and found.shape == expected.shape
        error = float(np.abs(found - expected).max(initial=0)) / (size or 1.0) if same else float("inf")
        if not error <= TOLERANCE:
            what = "y" if name == "y" else f"the gradient of {name}"
            raise GradientError(
                f"{what} in a network is not that of the layer alone (relative error {error:.1e}): between "
                f"{' and '.join(type(one).__name__ for one in chain if one is not layer)} in a Sequential on "
                f"{own.device!r} another forward or backward is called than the layer's own, or with other arguments",
                Row(problem.op, name, claim.method, TOLERANCE, error, 1, 0),
            )


def _layer_by_layer(problem: LayerProblem, chain: list[Layer], x: Any, dy: Any) -> dict[str, Any]:
    problem.repeat_random_numbers()
    for layer in chain:
        x = problem.call_forward(x) if layer is problem.layer else layer.forward(x, problem.training)
    y = x
    for layer in reversed(chain):
        dy = problem.call_backward(dy) if layer is problem.layer else layer.backward(dy)
    return _results(problem, y, dy)


def _in_container(problem: LayerProblem, chain: list[Layer], x: Any, dy: Any) -> dict[str, Any]:
    container = Sequential(*chain)
    problem.repeat_random_numbers()
    y = container.forward(x, problem.training)
    dx = container.backward(dy)
    container.forget()
    return _results(problem, y, dx)


def _results(problem: LayerProblem, y: Any, dx: Any) -> dict[str, Any]:
    """Copies, by name."""
    gradients = [p.grad for p in problem.parameters]
    return dict(zip(("y", *problem.names), copies([y, dx, *gradients]), strict=True))
