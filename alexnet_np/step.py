"""One training step: forward, loss, backward, update. On a GPU it is recorded once and then replayed.

    step = Step(net, sgd)
    for images, labels in batches:
        loss, correct = step(images, labels)
        step.raise_if_skipped(loss, images, labels)     # where somebody reads the loss anyway
        schedule.step()

A step that meets NaN or infinity changes no weight and no velocity, and its loss is NaN. Where that is noticed differs:

    "reference", "cpu"    before the update, so the step itself raises NotFiniteError
    "gpu"                 on the device, where the update is skipped: nobody waits for the device in the middle of a
                          step. Who reads the loss sees NaN, and raise_if_skipped says where it came from.

The recording (a CUDA graph) spares the 150 launches of a step, which take Python longer than they take the GPU. What
it holds is fixed: addresses, shapes, momentum, the probability of dropout. So the step copies the batch to where
the recording reads it; learning rates and the counters of the dropout masks are values on the device, and every
replay is a new step. Each batch size has its recording. When what is fixed has changed after all (weights that moved,
say), the step records anew. The first step of each kind runs unrecorded: it compiles kernels and makes velocities.
"""

import operator
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

import numpy as np

from . import losses
from .layers import Dropout, Softmax
from .models import Network
from .optim import SGD


class NotFiniteError(ArithmeticError):
    """A step met NaN or infinity; the message says in which layer first. The weights are those before the step."""


class Step:
    """Calls of it are training steps of ``net`` by the rule and the rates of ``sgd``, which has all that learn.

    ``graph=False`` never records: for a debugger, and for comparison. Other devices than "gpu" never do.
    The pictures go through the network in ``parts``, one after another, whose gradients add up to those of the
    whole batch: less memory, the same step.
    """

    def __init__(
        self, net: Network, sgd: SGD, graph: bool = True, *, label_smoothing: float = 0.0, parts: int = 1
    ) -> None:
        self.net = net
        self.sgd = sgd
        self.graph = graph
        self.label_smoothing = label_smoothing
        self.parts = parts
        self._rates: list[Any] = []  # on the device, one for each group
        self._recordings: dict[Any, _Recording] = {}  # by the kind of batch
        self._prepared: dict[Any, _Fixed] = {}  # with what a kind of batch last ran unrecorded
        self._stream: Any = None  # for recording
        self._pool: Any = None  # of the recordings' memory: they run one after the other, and share it

    def __call__(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """The loss, and how many of the batch were right.

        images (N, H, W, 3), labels (N,) integers; NumPy arrays are moved to the network's device. On "gpu" both results
        are arrays without axes on the device, which float() and int() wait for and read. NotFiniteError: see above.
        """
        net = self.net
        if not (net.device == "gpu" and isinstance(labels, net.backend.xp.ndarray)):
            # Those on a GPU are taken as they are: to look at them would mean to wait for it.
            labels = np.asarray(labels)
            losses.check_labels("Step", labels, *net.output_shape(images.shape))
        images, labels = net.backend.asarray(images, net.dtype), net.backend.asarray(labels)
        if net.device != "gpu":
            return self._on_cpu(images, labels)
        self._write_rates()
        return self._recorded(images, labels) if self.graph else self._on_gpu(images, labels)

    def raise_if_skipped(self, loss: Any, images: Any, labels: Any) -> None:
        """Raise NotFiniteError where this loss is NaN, saying where in the step of this batch that began.

        Waits for the device.
        """
        if isnan(float(loss)):
            backend = self.net.backend
            images, labels = backend.asarray(images, self.net.dtype), backend.asarray(labels)
            raise self._not_finite(images, labels)

    # ---- the step

    # Overflow is what the check is for: no need of NumPy's warnings on top of it.
    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def _on_cpu(self, images: Any, labels: Any) -> tuple[float, int]:
        masks = dropout_states(self.net)
        loss, correct, health = self._gradients(images, labels)
        if not isfinite(health):
            set_dropout_states(self.net, masks)
            raise self._not_finite(images, labels)
        self.sgd.step()
        return float(loss), int(correct)

    def _on_gpu(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """The whole step without a look at its numbers. A rate of NaN tells the gpu book's SGD to change nothing."""
        xp = self.net.backend.xp
        loss, correct, health = self._gradients(images, labels)
        finite = xp.isfinite(health)
        nan = xp.full((), np.nan, self._rates[0].dtype)
        with _rates_of(self.sgd, [xp.where(finite, rate, nan) for rate in self._rates]):
            self.sgd.step()
        return xp.where(finite, loss, nan), correct

    def _gradients(self, images: Any, labels: Any) -> tuple[Any, Any, Any]:
        """Forward, loss and backward. The loss, the right answers, and a number that is finite if all of it is."""
        net, N = self.net, len(labels)
        kernels = net.backend.kernels
        loss: Any = 0
        correct: Any = 0
        for part in self._parts(N):
            logits = net.logits(images[part], training=True)
            share = len(labels[part]) / N  # of the batch's mean
            part_loss, saved = kernels.softmax_cross_entropy_forward(logits, labels[part], self.label_smoothing)
            net.backward(kernels.softmax_cross_entropy_backward(share, saved), accumulate=part.start > 0)
            loss += share * part_loss
            correct += losses.among_largest(net.backend.xp, logits, labels[part], 1).sum()
        # A layer's last gradient, its bias's, tells of the others: it is the sum of all dy.
        learning = ([p for p in layer.parameters() if p.requires_grad] for _, layer in net.walk())
        health = loss + sum(parameters[-1].grad.sum() for parameters in learning if parameters)
        return loss, correct, health

    def _parts(self, N: int) -> list[slice]:
        """Of a batch of N: alike in size, and none of them empty."""
        parts = min(self.parts, N)
        return [slice(N * i // parts, N * (i + 1) // parts) for i in range(parts)]

    def _not_finite(self, images: Any, labels: Any) -> NotFiniteError:
        found = (first_not_finite(self.net, images[part], labels[part]) for part in self._parts(len(labels)))
        return NotFiniteError(next(filter(None, found), "NaN or infinity, but none when the step was repeated"))

    def _write_rates(self) -> None:
        groups, xp = self.sgd.groups, self.net.backend.xp
        dtype = "float64" if self.net.dtype == "float64" else "float32"
        if not self._rates or self._rates[0].dtype != dtype:
            self._rates = [xp.empty((), dtype) for _ in groups]
        for rate, group in zip(self._rates, groups, strict=True):
            rate.fill(group.lr)

    # ---- recorded

    def _recorded(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """By the recording for such a batch; by a new one, or unrecorded, where it has to be."""
        kind, fixed = (images.shape, labels.dtype.str), self._fixed()
        recording = self._recordings.get(kind)
        if recording is None or not recording.fixed.is_as(fixed):
            self._recordings.pop(kind, None)  # its memory is for the next
            prepared = self._prepared.get(kind)
            if prepared is None or not prepared.is_as(fixed):
                result = self._on_gpu(images, labels)
                self._prepared[kind] = self._fixed()
                return result
            recording = self._recordings[kind] = self._record(images, labels, fixed)
        recording.images[...] = images
        recording.labels[...] = labels
        recording.graph.launch()
        for p, gradient in zip(self.net.parameters(), recording.gradients, strict=True):
            p.grad = gradient
        return recording.loss.copy(), recording.correct.copy()  # the next replay writes over its own

    def _record(self, images: Any, labels: Any, fixed: "_Fixed") -> "_Recording":
        """Nothing is computed here: the device is told what a step is."""
        xp = self.net.backend.xp
        self._stream = self._stream or xp.cuda.Stream(non_blocking=True)
        self._pool = self._pool or xp.cuda.MemoryPool()
        # Memory that a recording uses for a moment it will use again in each replay: nobody else may have it. The
        # unrecorded step has left as much in the common pool.
        xp.get_default_memory_pool().free_all_blocks()
        with xp.cuda.using_allocator(self._pool.malloc), self._stream:
            images, labels = xp.empty_like(images), xp.empty_like(labels)
            self._stream.begin_capture()
            try:
                loss, correct = self._on_gpu(images, labels)
            except BaseException:
                with suppress(Exception):  # it is the first error that matters
                    self._stream.end_capture()
                raise
            graph = self._stream.end_capture()
        return _Recording(graph, fixed, images, labels, loss, correct, [p.grad for p in self.net.parameters()])

    def _fixed(self) -> "_Fixed":
        net, sgd = self.net, self.sgd
        dropouts = [layer for _, layer in net.walk() if isinstance(layer, Dropout)]
        return _Fixed(
            (
                net.backend,
                *(p.data for p in net.parameters()),
                *sgd.velocities.values(),
                *(layer.rng for layer in dropouts),
            ),
            (
                *(layer.p for layer in dropouts),
                *(p.requires_grad for p in net.parameters()),
                *((group.momentum, group.weight_decay) for group in sgd.groups),
            ),
        )


@dataclass(frozen=True)
class _Fixed:
    """What a recording holds for good: objects, arrays for their addresses among them, and numbers."""

    objects: tuple[Any, ...]
    numbers: tuple[Any, ...]

    def is_as(self, other: "_Fixed") -> bool:
        """Whether these are the very objects of the other, and equal numbers."""
        return (
            len(self.objects) == len(other.objects)
            and all(map(operator.is_, self.objects, other.objects))
            and self.numbers == other.numbers
        )


@dataclass(frozen=True)
class _Recording:
    """A step in a CUDA graph, with all arrays whose addresses are in it and that others could free."""

    graph: Any
    fixed: _Fixed
    images: Any
    labels: Any
    loss: Any
    correct: Any
    gradients: list[Any]


@contextmanager
def _rates_of(sgd: SGD, rates: list[Any]) -> Iterator[None]:
    """The optimiser with these learning rates, arrays on the device, for a while."""
    numbers = [group.lr for group in sgd.groups]
    try:
        for group, rate in zip(sgd.groups, rates, strict=True):
            group.lr = rate
        yield
    finally:
        for group, number in zip(sgd.groups, numbers, strict=True):
            group.lr = number


# ---- NaN and infinity


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def first_not_finite(net: Network, images: Any, labels: Any) -> str | None:
    """Repeat a step layer by layer, and say where NaN or infinity first appears; None if nowhere."""

    def finite(array: Any) -> bool:
        return bool(net.backend.xp.isfinite(array).all())

    if not finite(images):
        return "NaN or infinity in the images"
    for p in net.parameters():
        if not finite(p.data):
            return f"NaN or infinity in {p.name}"
    layers = [(name, layer) for name, layer in net.walk() if not isinstance(layer, Softmax)]  # the loss has it inside
    x = images
    for name, layer in layers:
        x = layer.forward(x, training=True)
        if not finite(x):
            return f"NaN or infinity first appears in the forward pass of {name}, {layer.label}"
    _, dy = losses.softmax_cross_entropy(x, labels)
    for name, layer in reversed(layers):
        dy = layer.backward(dy)
        if not all(map(finite, [dy, *(p.grad for p in layer.parameters() if p.requires_grad)])):
            return f"NaN or infinity first appears in the backward pass of {name}, {layer.label}"
    return None


# ---- the generators of the dropout masks


def dropout_states(net: Network) -> list[Any]:
    """The states of the generators that dropout draws its masks from, as JSON can hold them."""
    return [stateful.state for stateful in _dropout_generators(net)]


def set_dropout_states(net: Network, states: list[Any]) -> None:
    """Set the generators to states that ``dropout_states`` gave for such a network on such a device."""
    for stateful, state in zip(_dropout_generators(net), states, strict=True):
        stateful.state = state


def _dropout_generators(net: Network) -> list[Any]:
    """What has the ``state`` of each generator, once: of NumPy's its bit generator, the gpu book's itself."""
    generators = {id(layer.rng): layer.rng for _, layer in net.walk() if isinstance(layer, Dropout)}
    return [getattr(rng, "bit_generator", rng) for rng in generators.values()]
