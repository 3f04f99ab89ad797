"""SGD and its learning rate schedules: kernels/reference/sgd.py has the sums."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any

from .layers.arguments import integer, number
from .layers.base import Parameter


@dataclass
class Group:
    """Parameters that share a learning rate, momentum and weight decay."""

    parameters: list[Parameter]
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0


class SGD:
    """Stochastic gradient descent with momentum and weight decay.

    ``rule``: "torch", v <- m v + g + d w, w <- w - lr v; or "2012", v <- m v - lr (g + d w), w <- w + v.
    They differ only when lr changes. ``parameters`` is a list of parameters, or of ``Group``.

    ``velocities`` holds v by the name of the parameter, from its first step on.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter] | Sequence[Group],
        lr: float = 0.01,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        rule: str = "torch",
    ) -> None:
        given: list[Any] = list(parameters)
        if not given:
            raise ValueError("SGD: parameters: expected at least one, got none")
        self.groups = given if isinstance(given[0], Group) else [Group(given, lr, momentum, weight_decay)]
        names: set[str] = set()
        for group in self.groups:
            for name in ("lr", "momentum", "weight_decay"):
                number("SGD", name, getattr(group, name))
            for parameter in group.parameters:
                if not isinstance(parameter, Parameter):
                    raise TypeError(f"SGD: parameters: expected a Parameter, got {type(parameter).__name__}")
                if parameter.name in names:
                    raise ValueError(f"SGD: parameters: expected each name once, got {parameter.name!r} twice")
                names.add(parameter.name)
        if rule not in ("torch", "2012"):
            raise ValueError(f"SGD: rule: expected 'torch' or '2012', got {rule!r}")
        self.rule = rule
        self.velocities: dict[str, Any] = {}

    def step(self) -> None:
        """Update every parameter from its gradient."""
        for group in self.groups:
            for p in group.parameters:
                if p.grad is None:
                    raise RuntimeError(f"SGD: {p.name} has no gradient: step needs a backward before it")
        for group in self.groups:
            for p in group.parameters:
                kernels = p.backend.kernels
                update = kernels.sgd_torch_inplace if self.rule == "torch" else kernels.sgd_2012_inplace
                v = self.velocities.get(p.name)
                # The network may have moved to another device or dtype since the last step.
                v = p.backend.xp.zeros_like(p.data) if v is None else p.backend.asarray(v, p.data.dtype)
                update(p.data, p.grad, v, group.lr, group.momentum, group.weight_decay)
                self.velocities[p.name] = v

    @property
    def lr(self) -> float:
        """The first group's learning rate."""
        return self.groups[0].lr


def recipe_2012(parameters: Iterable[Parameter]) -> SGD:
    """The optimiser of the 2012 code: weights at 0.01 with decay 0.0005, biases at 0.02 with none; rule "2012".

    Its schedule is StepLR by hand: the weights' rate was divided by 10 at epochs 25, 51 and 79 of 90, the
    biases' rate never.
    """
    parameters = list(parameters)
    kernels = [p for p in parameters if p.data.ndim > 1]
    biases = [p for p in parameters if p.data.ndim == 1]
    return SGD([Group(kernels, 0.01, 0.9, 0.0005), Group(biases, 0.02, 0.9, 0.0)], rule="2012")


class Schedule:
    """Sets the learning rates of an optimiser, from what they are when the schedule is made.

    ``step()`` is called after each epoch, or after each batch where lengths are given in batches.
    Subclasses say in ``factor`` what the initial rates are multiplied by.
    """

    def __init__(self, optimizer: SGD) -> None:
        self.optimizer = optimizer
        self.initial = [group.lr for group in optimizer.groups]
        self.steps = 0

    def factor(self, steps: int) -> float:
        raise NotImplementedError

    def step(self) -> None:
        self.steps += 1
        self.apply()

    def apply(self) -> None:
        """Set the rates for the steps taken so far."""
        for group, lr in zip(self.optimizer.groups, self.initial, strict=True):
            group.lr = lr * self.factor(self.steps)


class StepLR(Schedule):
    """Multiplied by gamma every ``step_size`` steps."""

    def __init__(self, optimizer: SGD, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer)
        self.step_size = integer("StepLR", "step_size", step_size)
        self.gamma = number("StepLR", "gamma", gamma)

    def factor(self, steps: int) -> float:
        return self.gamma ** (steps // self.step_size)


class CosineLR(Schedule):
    """Half a cosine from 1 to 0 over ``total`` steps, after ``warmup`` steps that rise linearly to 1.

    With warmup w, step t < w has the factor (t + 1) / (w + 1). (Loshchilov & Hutter 2017, eq. 5; Goyal et al. 2017,
    section 2.2.)
    """

    def __init__(self, optimizer: SGD, total: int, warmup: int = 0) -> None:
        super().__init__(optimizer)
        self.total = integer("CosineLR", "total", total)
        self.warmup = integer("CosineLR", "warmup", warmup, least=0)
        if warmup >= total:
            raise ValueError(f"CosineLR: warmup: expected less than total ({total}), got {warmup}")
        self.apply()

    def factor(self, steps: int) -> float:
        if steps < self.warmup:
            return (steps + 1) / (self.warmup + 1)
        done = min(1.0, (steps - self.warmup) / (self.total - self.warmup))
        return (1 + cos(pi * done)) / 2


class ReduceLROnPlateau:
    """Multiplies the rates by ``factor`` when a figure has not fallen for more than ``patience`` steps.

    To fall means below (1 - threshold) times the best so far. ``step`` takes the figure, say the
    validation loss. This is what was done by hand in 2012.
    """

    def __init__(self, optimizer: SGD, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4) -> None:
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor: expected 0 <= factor < 1, got {factor!r}")
        self.optimizer = optimizer
        self.factor = factor
        self.patience = integer("ReduceLROnPlateau", "patience", patience, least=0)
        self.threshold = number("ReduceLROnPlateau", "threshold", threshold)
        self.best = float("inf")
        self.bad_steps = 0

    def step(self, figure: float) -> None:
        if figure < self.best * (1 - self.threshold):
            self.best, self.bad_steps = figure, 0
        else:
            self.bad_steps += 1
        if self.bad_steps > self.patience:
            self.bad_steps = 0
            for group in self.optimizer.groups:
                group.lr *= self.factor
