"""A layer as a network uses it: a container has to compute what the layer alone computes."""

from dataclasses import dataclass
from traceback import walk_tb
from typing import Any

import numpy as np

from ..layers import Conv2d, Layer, Linear, MaxPool2d, Parameter, ReLU, Sequential
from ..layers.base import every_layer
from .claim import Claim
from .layer import LayerProblem
from .problem import copies, generator
from .results import GradientError, Row

TOLERANCE = 1e-9  # of the same numbers, added in another order
WIDEST = 64  # channels or features of a layer before, which passes on what it takes

Found = dict[str, Any]


def check_in_network(claim: Claim) -> None:
    """GradientError where y or a gradient of the layer between others in a Sequential are not those of it alone.

    Before it a 1x1 convolution or a linear layer that changes nothing, after it a ReLU and a pooling: what a backend
    may take together. Then the parameters' gradients without that of x, and added to those of a backward before, as a
    step in several parts does. A layer that a network stops with an error, or with NaN, is accused only where these
    options are to blame: where the same network computes without them.
    """
    problem = claim.problem
    if not isinstance(problem, LayerProblem) or not isinstance(problem.layer, Layer) or problem.inputs != 1:
        return
    layer, own = problem.layer, problem.backend
    problem.forward(problem.values)  # all parameters have their values
    x = own.asarray(problem.values[0], problem.dtype).reshape(problem.values[0].shape)
    y = problem.run_forward(x)
    if not isinstance(y, own.xp.ndarray) or not x.size:
        return
    before, after = _before(x), [ReLU(inplace=True), *([MaxPool2d(1)] if y.ndim == 4 else [])]
    for neighbour in (*before, *after):
        neighbour.to(own.device, problem.dtype, own.algorithm, own.precision)
        neighbour.requires_grad_(False)  # without that of x, backward ends at the layer
    dy = own.asarray(generator(0, 2).standard_normal(y.shape), problem.dtype).reshape(y.shape)
    chain = [*before, layer, *after]
    alone = _layer_by_layer(problem, chain, x, dy)
    container = Sequential(*chain)
    trainable = any(isinstance(p, Parameter) for p in problem.parameters)
    for way in WAYS if trainable else WAYS[:1]:
        try:
            found = _in_container(problem, container, x, dy, **way.options)
        except Exception as error:  # what it cannot do there at all, a network says when it is used
            if not way.options:
                return
            raise _stopped(claim, way, error) from error
        finally:
            container.forget()
        _compare(claim, alone, found, way)


@dataclass(frozen=True)
class Way:
    """How backward is called in a network; what is wrong where gradients are not ``times`` the layer's."""

    options: dict[str, bool]
    times: float
    difference: str
    advice: str

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


WAYS = (
    Way(
        {},
        1.0,
        "in a network is not that of the layer alone",
        "in a Sequential another forward or backward is called than the layer's own, or with other arguments",
    ),
    Way(
        {"input_grad": False},
        1.0,
        "is another one without that of x",
        "backward(dy, accumulate, input_grad=False) has to write the parameters' gradients as they are",
    ),
    Way(
        {"input_grad": False, "accumulate": True},
        2.0,
        "is not added to that of the backward before",
        "backward(dy, accumulate=True) has to add to the gradients that are there, as write_grads(accumulate, ...) "
        "does: otherwise Step(parts=2) trains on a part of each batch",
    ),
)


def _stopped(claim: Claim, way: Way, error: Exception) -> GradientError:
    """What to raise where backward fails with these options: the layer whose method was the last to be called."""
    problem = claim.problem
    assert isinstance(problem, LayerProblem)
    paths = {id(layer): path for path, layer in every_layer(problem.layer)}
    called = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    culprit = next((layer for layer in reversed(called) if id(layer) in paths), problem.layer)
    path = paths[id(culprit)]
    names = [p.name for p in problem.parameters if isinstance(p, Parameter)]
    row = Row(problem.op, path or names[0], claim.method, TOLERANCE, float("inf"), 0, 0)
    where = f" of {path} ({culprit.label})" if path else ""
    return GradientError(f"backward{where} with {way} stops with {type(error).__name__}: {error}: {way.advice}", row)


def _before(x: Any) -> list[Layer]:
    """A layer that gives what it takes, where there is a small one."""
    size = x.shape[-1] if x.ndim else 0
    if size > WIDEST:
        return []
    if x.ndim == 4:
        return [Conv2d(size, size, 1, groups=size, init=lambda _, shape: (np.ones(shape), np.zeros(size)))]
    return [Linear(size, size, init=lambda _, shape: (np.eye(size), np.zeros(size)))] if x.ndim == 2 else []


def _layer_by_layer(problem: LayerProblem, chain: list[Layer], x: Any, dy: Any) -> Found:
    problem.repeat_random_numbers()
    for layer in chain:
        x = problem.call_forward(x) if layer is problem.layer else layer.forward(x, problem.training)
    y = x
    for layer in reversed(chain):
        dy = problem.call_backward(dy) if layer is problem.layer else layer.backward(dy)
    return _results(problem, y, dy)


def _in_container(problem: LayerProblem, container: Sequential, x: Any, dy: Any, **options: bool) -> Found:
    problem.repeat_random_numbers()
    y = container.forward(x, problem.training, input_grad=options.get("input_grad", True))
    return _results(problem, y, container.backward(dy, **options))


def _results(problem: LayerProblem, y: Any, dx: Any) -> Found:
    """Copies, by name."""
    gradients = [p.grad for p in problem.parameters]
    return dict(zip(("y", *problem.names), copies([y, dx, *gradients]), strict=True))


def _compare(claim: Claim, alone: Found, network: Found, way: Way) -> None:
    names = ["y", *claim.problem.names]
    if way.options:  # of parameters alone
        assert isinstance(claim.problem, LayerProblem)
        parameters = claim.problem.parameters
        names = [name for name, p in zip(names[2:], parameters, strict=True) if isinstance(p, Parameter)]
    for name in names:
        expected, found = alone[name], network[name]
        if expected is None and found is None:
            continue
        if found is not None and not np.isfinite(found).all() and not way.options:
            continue
        size = 0.0 if expected is None else way.times * float(np.abs(expected).max(initial=0))
        same = expected is not None and found is not None and found.shape == expected.shape
        error = float(np.abs(found - way.times * expected).max(initial=0)) / (size or 1.0) if same else float("inf")
        error = error if np.isfinite(error) else float("inf")
        if not error <= TOLERANCE:
            what = "y" if name == "y" else f"the gradient of {name}"
            raise GradientError(
                f"{what} {way.difference} (relative error {error:.1e}): {way.advice}",
                Row(claim.problem.op, name, claim.method, TOLERANCE, error, 1, 0),
            )
