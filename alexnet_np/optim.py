"""SGD and its learning rate schedules: kernels/reference/sgd.py has the kernels."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby
from math import cos, pi
from typing import Any

from .layers.arguments import integer, number
from .layers.parameter import Parameter


@dataclass
class Group:
    """Parameters with one learning rate, momentum and weight decay; schedules change ``lr`` where ``scheduled``."""

    parameters: list[Parameter]
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    scheduled: bool = True


class SGD:
    """Stochastic gradient descent with momentum and weight decay.

    ``rule``: "torch", v <- m v + g + d w, w <- w - lr v; or "2012", v <- m v - lr (g + d w), w <- w + v.
    They differ only when lr changes. ``parameters`` is a list of parameters, or of ``Group``; frozen ones
    among them (``requires_grad``) stay as they are.

    ``velocities`` holds v by the name that the parameter had when it came to the optimizer, from its first step on.
    Of parameters with the same name the second is called "weight (2)". A group's ``parameters`` may be assigned anew,
    as after a layer is replaced: what is in no group any more is forgotten.
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
        self._names: dict[Parameter, str] = {}
        self.velocities: dict[str, Any] = {}
        for group in self.groups:
            for name in ("lr", "momentum", "weight_decay"):
                number("SGD", name, getattr(group, name))
        self._take_names()
        if rule not in ("torch", "2012"):
            raise ValueError(f"SGD: rule: expected 'torch' or '2012', got {rule!r}")
        self.rule = rule

    def step(self) -> None:
        """Update every trainable parameter from its gradient."""
        self._take_names()
        trainable = [[p for p in group.parameters if p.requires_grad] for group in self.groups]
        for p in chain.from_iterable(trainable):
            if p.grad is None:
                raise RuntimeError(f"SGD: {self._names[p]} has no gradient: step needs a backward before it")
            if p.grad.shape != p.data.shape or p.grad.dtype != p.data.dtype:  # resized where it lies
                expected, got = (f"{array.dtype} of shape {tuple(array.shape)}" for array in (p.data, p.grad))
                raise ValueError(f"SGD: {self._names[p]}: grad: expected {expected} as data, got {got}")
        for group, parameters in zip(self.groups, trainable, strict=True):
            for backend, some in groupby(parameters, lambda p: p.backend):
                kernels, ps = backend.kernels, list(some)
                update = kernels.sgd_torch_all_inplace if self.rule == "torch" else kernels.sgd_2012_all_inplace
                vs = [self._velocity(p) for p in ps]
                ws, gs = [p.data for p in ps], [p.grad for p in ps]
                update(ws, gs, vs, group.lr, group.momentum, group.weight_decay)

    def _velocity(self, p: Parameter) -> Any:
        """0 before its first step. The network may have moved to another device or dtype since the last one."""
        name = self._names[p]
        v = self.velocities.get(name)
        if v is not None and v.shape != p.data.shape:
            raise ValueError(f"SGD: velocities: {name}: expected shape {p.data.shape}, got {v.shape}")
        v = p.backend.xp.zeros_like(p.data) if v is None else p.backend.asarray(v, p.data.dtype)
        self.velocities[name] = v
        return v

    def _take_names(self) -> None:
        """Name new parameters of the groups, and forget those that are in no group any more, with their momentum.

        A name is the parameter's own, and in the optimizer for good: "weight", or "weight (2)" where it is taken.
        """
        parameters = [p for group in self.groups for p in group.parameters]
        if parameters == [*self._names]:
            return
        for p in parameters:
            if not isinstance(p, Parameter):
                raise TypeError(f"SGD: parameters: expected a Parameter, got {type(p).__name__}")
        if len(set(parameters)) < len(parameters):
            twice = next(p for i, p in enumerate(parameters) if p in parameters[:i])
            raise ValueError(f"SGD: parameters: expected each parameter once, got {twice.name!r} twice")
        known = {p: name for p, name in self._names.items() if p in set(parameters)}
        taken = set(known.values())
        self.velocities = {name: v for name, v in self.velocities.items() if name in taken}
        self._names = {}
        for p in parameters:
            self._names[p] = known.get(p) or next(name for name in _names_like(p.name) if name not in taken)
            taken.add(self._names[p])

    @property
    def lr(self) -> float:
        """The first group's learning rate."""
        return self.groups[0].lr


def _names_like(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name} ({i})" for i in count(2))


def without_bias_decay(
    parameters: Iterable[Parameter], lr: float, momentum: float = 0.0, weight_decay: float = 0.0
) -> SGD:
    """An optimizer that lets only weights decay: a bias needs no small values to keep a function smooth."""
    kernels, biases = _kernels_and_biases(parameters)
    return SGD([Group(kernels, lr, momentum, weight_decay), Group(biases, lr, momentum, 0.0)])


def recipe_2012(
    parameters: Iterable[Parameter], lr: float = 0.01, momentum: float = 0.9, weight_decay: float = 0.0005
) -> SGD:
    """The optimizer of the 2012 code: biases at twice the weights' rate and with no decay; rule "2012".

    The weights' rate was divided by 10 at epochs 25, 51 and 79 of 90 (``MultiStepLR``), the biases' rate never.
    """
    kernels, biases = _kernels_and_biases(parameters)
    return SGD(
        [Group(kernels, lr, momentum, weight_decay), Group(biases, 2 * lr, momentum, 0.0, scheduled=False)], rule="2012"
    )


def _kernels_and_biases(parameters: Iterable[Parameter]) -> tuple[list[Parameter], list[Parameter]]:
    parameters = list(parameters)
    return [p for p in parameters if p.data.ndim > 1], [p for p in parameters if p.data.ndim == 1]


class Schedule:
    """Sets the learning rates of an optimizer, from what they are when the schedule is made.

    ``step()`` is called after each epoch, or after each batch where lengths are given in batches. By itself
    the rates are constant; subclasses say in ``scale`` what they are multiplied by. In the first ``warmup``
    steps all is multiplied by 1/(w + 1), 2/(w + 1), ... as well. (Goyal et al. 2017, section 2.2.)
    """

    def __init__(self, optimizer: SGD, warmup: int = 0) -> None:
        self.optimizer = optimizer
        self.warmup = integer(type(self).__name__, "warmup", warmup, least=0)
        self.initial = [group.lr for group in optimizer.groups]
        self.steps = 0
        self.apply()

    def scale(self, steps: int) -> float:
        """What the rates are multiplied by after so many steps."""
        return 1.0

    def step(self) -> None:
        self.steps += 1
        self.apply()

    def apply(self) -> None:
        """Set the rates for the steps taken so far."""
        scale = min(1.0, (self.steps + 1) / (self.warmup + 1)) * self.scale(self.steps)
        for group, lr in zip(self.optimizer.groups, self.initial, strict=True):
            if group.scheduled:
                group.lr = lr * scale

    def state(self) -> dict[str, Any]:
        """How far it has come, in numbers; ``load_state`` takes it back."""
        return {"steps": self.steps}

    def check_state(self, state: dict[str, Any]) -> None:
        """ValueError where ``state`` gave something else."""
        for name, own in self.state().items():
            got: Any = state.get(name)
            # A float may be None, where there is no number yet.
            kinds = (int,) if type(own) is int else (int, float, type(None))
            if name not in state or type(got) not in kinds or (type(own) is int and not 0 <= got < 2**53):
                raise ValueError(f"{type(self).__name__}: state: {name}: expected a number as {own}, got {got!r:.200}")

    def load_state(self, state: dict[str, Any]) -> None:
        for name in self.state():
            setattr(self, name, state[name])
        self.apply()


class StepLR(Schedule):
    """Multiplied by gamma every ``step_size`` steps."""

    def __init__(self, optimizer: SGD, step_size: int, gamma: float = 0.1, warmup: int = 0) -> None:
        self.step_size = integer("StepLR", "step_size", step_size)
        self.gamma = number("StepLR", "gamma", gamma)
        super().__init__(optimizer, warmup)

    def scale(self, steps: int) -> float:
        return self.gamma ** (steps // self.step_size)


class MultiStepLR(Schedule):
    """Multiplied by gamma at each of the ``milestones``, numbers of steps."""

    def __init__(self, optimizer: SGD, milestones: Sequence[int], gamma: float = 0.1, warmup: int = 0) -> None:
        self.milestones = sorted(integer("MultiStepLR", "milestones", milestone) for milestone in milestones)
        self.gamma = number("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, warmup)

    def scale(self, steps: int) -> float:
        return self.gamma ** bisect_right(self.milestones, steps)


class CosineLR(Schedule):
    """Half a cosine from 1 to 0 over the steps from ``warmup`` to ``total``. (Loshchilov & Hutter 2017, eq. 5.)"""

    def __init__(self, optimizer: SGD, total: int, warmup: int = 0) -> None:
        self.total = integer("CosineLR", "total", total)
        if integer("CosineLR", "warmup", warmup, least=0) >= total:
            raise ValueError(f"CosineLR: warmup: expected less than total ({total}), got {warmup}")
        super().__init__(optimizer, warmup)

    def scale(self, steps: int) -> float:
        done = (steps - self.warmup) / (self.total - self.warmup)
        return (1 + cos(pi * min(1.0, max(0.0, done)))) / 2


class ReduceLROnPlateau(Schedule):
    """Multiplies the rates by ``factor`` when a figure has not fallen for more than ``patience`` epochs.

    To fall means below (1 - threshold) times the best so far. ``step(figure)`` is called after each epoch
    with, say, the validation error, and ``step()`` after each batch if there is a warm-up. This is what
    was done by hand in 2012. (Krizhevsky et al. 2012, section 5.)
    """

    def __init__(
        self, optimizer: SGD, factor: float = 0.1, patience: int = 10, threshold: float = 1e-4, warmup: int = 0
    ) -> None:
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau: factor: expected 0 <= factor < 1, got {factor!r}")
        self.factor = factor
        self.patience = integer("ReduceLROnPlateau", "patience", patience, least=0)
        self.threshold = number("ReduceLROnPlateau", "threshold", threshold)
        self.best: float | None = None
        self.bad_steps = 0
        self.reductions = 0
        super().__init__(optimizer, warmup)

    def scale(self, steps: int) -> float:
        return self.factor**self.reductions

    def step(self, figure: float | None = None) -> None:
        if figure is None:
            super().step()
            return
        if self.best is None or figure < self.best * (1 - self.threshold):
            self.best, self.bad_steps = figure, 0
        else:
            self.bad_steps += 1
        if self.bad_steps > self.patience:
            self.bad_steps = 0
            self.reductions += 1
        self.apply()

    def state(self) -> dict[str, Any]:
        figures = ("best", "bad_steps", "reductions")
        return super().state() | {name: getattr(self, name) for name in figures}
