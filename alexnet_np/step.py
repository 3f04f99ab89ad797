"""One training step: forward, loss, backward, update. On a GPU it is captured as a CUDA graph once, and then replayed.

    step = Step(net, sgd)
    for images, labels in batches:
        loss, correct = step(images, labels)
        step.raise_if_skipped(loss, images, labels)     # where somebody reads the loss anyway
        schedule.step()

A step that meets NaN or infinity changes no weight and no momentum buffer, and its loss is NaN. Where that is noticed
differs:

    "reference", "cpu"    before the update, so the step itself raises NotFiniteError
    "gpu"                 on the device, where the update is skipped: nobody waits for the device in the middle of a
                          step. Who reads the loss sees NaN, and raise_if_skipped says where it came from.

A recorded step (recording.py) is a new one each time: learning rates, and the seeds and counters of the dropout masks,
are values on the device. Momentum and the probability of dropout are fixed in it: it is recorded anew when they change.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, isnan
from typing import Any

import numpy as np

from . import generators, losses, recording
from .layers import Container, Conv2d, Linear, Softmax
from .layers.base import Layer
from .layers.calls import call_backward, call_forward
from .layers.parameter import Parameter
from .layers.tree import Tree
from .optim import SGD


class NotFiniteError(ArithmeticError):
    """NaN or infinity where numbers are expected; the message says where.

    A step that meets them leaves the weights as they were before it, and names the layer where they appear first.
    """


class Step:
    """Run one training step of ``net``, any container, by the rule and the rates of ``sgd``.

    ``sgd`` must have every trainable parameter, and no others; ValueError otherwise, also where layers were
    replaced since.

    ``graph=False`` never records: for a debugger, and for comparison. Other devices than "gpu" never do.
    The images go through the network in ``parts``, one after another, whose gradients add up to those of the
    whole batch: less memory, the same step. Gradients of a recorded step are the recording's: they go with it.
    """

    def __init__(
        self, net: Container, sgd: SGD, graph: bool = True, *, label_smoothing: float = 0.0, parts: int = 1
    ) -> None:
        if not isinstance(net, Container):
            raise TypeError(
                f"Step: net: expected a network or another Container, got {type(net).__name__} (layers.Sequential "
                "makes one of layers)"
            )
        net.named_parameters()  # says in a sentence what is wrong with the tree
        self.net = net
        self.sgd = sgd
        self._check_parameters(Tree(net).parameters())
        self.graph = graph
        self.label_smoothing = label_smoothing
        self.parts = parts
        self._rates: list[Any] = []  # on the device, one for each group
        self._recorder = recording.Recorder()
        weakref.finalize(self, _take_back, net, self._recorder).atexit = False

    def __call__(self, images: Any, labels: Any) -> tuple[Any, Any]:
        """The loss, and how many of the batch were right.

        images (N, H, W, 3), labels (N,) integers; NumPy arrays are moved to the network's device. On "gpu" both results
        are arrays without axes on the device, which float() and int() wait for and read. NotFiniteError: see above.
        """
        net, tree = self.net, Tree(self.net)
        parameters = tree.parameters()
        self._check_parameters(parameters)
        images = net.backend.asarray(images, parameters[0].data.dtype if parameters else net.dtype)
        if not (net.device == "gpu" and isinstance(labels, net.backend.xp.ndarray)):
            # Those on a GPU are taken as they are: to look at them would mean to wait for it.
            labels = np.asarray(labels)
            self._check_labels(images, labels)
        labels = net.backend.asarray(labels)
        if net.device != "gpu":
            return self._on_cpu(images, labels, tree)
        self._write_rates()
        if not self.graph:
            loss, correct, *_ = self._on_gpu(images, labels)
            return loss, correct
        loss, correct, *gradients = self._recorder.run(self._on_gpu, self._fixed, images, labels)
        for p, gradient in zip(parameters, gradients, strict=True):
            p.grad = gradient
        return loss.copy(), correct.copy()  # the next replay writes over its own

    def raise_if_skipped(self, loss: Any, images: Any, labels: Any) -> None:
        """Raise NotFiniteError where this loss is NaN, saying where in the step of this batch that began.

        Waits for the device.
        """
        if isnan(float(loss)):
            backend = self.net.backend
            images, labels = backend.asarray(images, self.net.dtype), backend.asarray(labels)
            masks = generators.states(self.net)
            try:
                raise self._not_finite(images, labels)
            finally:
                generators.set_states(self.net, masks)

    # ---- the step

    # Overflow is what the check is for: no need of NumPy's warnings on top of it.
    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def _on_cpu(self, images: Any, labels: Any, tree: Tree) -> tuple[float, int]:
        masks = generators.states(self.net)
        try:
            loss, correct, health = self._gradients(images, labels, tree)
            if not isfinite(health):
                generators.set_states(self.net, masks)  # the step is repeated to find where it was
                raise self._not_finite(images, labels)
        except BaseException:  # whoever goes on finds the network as it was, and no gradients of half a batch
            generators.set_states(self.net, masks)
            self._drop_gradients()
            raise
        self.sgd.step()
        return float(loss), int(correct)

    def _on_gpu(self, images: Any, labels: Any) -> tuple[Any, ...]:
        """The whole step without a look at its numbers: loss, right answers, gradients.

        A rate of NaN tells the GPU backend's SGD to change nothing.
        """
        xp, tree = self.net.backend.xp, Tree(self.net)
        loss, correct, health = self._gradients(images, labels, tree)
        finite = xp.isfinite(health)
        nan = xp.full((), np.nan, self._rates[0].dtype)
        with _rates_of(self.sgd, [xp.where(finite, rate, nan) for rate in self._rates]):
            self.sgd.step()
        return xp.where(finite, loss, nan), correct, *(p.grad for p in tree.parameters())

    def _gradients(self, images: Any, labels: Any, tree: Tree) -> tuple[Any, Any, Any]:
        """Forward, loss and backward. The loss, the right answers, and a number that is finite if all of it is."""
        net, N = self.net, len(labels)
        kernels = net.backend.kernels
        loss: Any = 0
        correct: Any = 0
        for part in self._parts(N):
            logits = net.logits(images[part], training=True)
            share = len(labels[part]) / N  # of the batch's mean
            part_loss, saved = kernels.softmax_cross_entropy_forward(logits, labels[part], self.label_smoothing)
            dlogits = kernels.softmax_cross_entropy_backward(share, saved)
            call_backward(net, dlogits, accumulate=part.start > 0, input_grad=False)
            loss += share * part_loss
            correct += losses.among_largest(net.backend.xp, logits, labels[part], 1).sum()
        health = loss + sum(gradient.sum() for gradient in _telling(tree))
        return loss, correct, health

    def _check_parameters(self, parameters: list[Parameter]) -> None:
        """The optimizer has every trainable parameter of the network, and no other one."""
        trainable = {id(p) for p in parameters if p.requires_grad}
        if trainable == {id(p) for group in self.sgd.groups for p in group.parameters if p.requires_grad}:
            return
        own = {id(p): name for name, p in self.net.named_parameters() if p.requires_grad}
        known = {id(p): p.name for group in self.sgd.groups for p in group.parameters if p.requires_grad}
        advice = "make the optimizer from net.parameters() after the layers are in their place"
        if missing := [name for parameter, name in own.items() if parameter not in known]:
            raise ValueError(
                f"Step: sgd: expected every trainable parameter, but {', '.join(missing)} is not among its own: "
                f"{advice}, or freeze the others by requires_grad_(False)"
            )
        if others := [name for parameter, name in known.items() if parameter not in own]:
            raise ValueError(
                f"Step: sgd: expected parameters of the network, got {', '.join(others)} of a layer that is not in it: "
                f"{advice}"
            )

    def _check_labels(self, images: Any, labels: np.ndarray) -> None:
        """Before anything is computed, where the network says how many classes it has; else the loss checks them."""
        try:
            found = self.net.output_shape(images.shape)
        except NotImplementedError:  # a forward of its own without an output_shape
            return
        if len(found) != 2:
            expected = f"{self.net.label}.output_shape({images.shape}): expected (N, num_classes)"
            raise ValueError(f"Step: net: {expected}, got {found}: a forward of one's own needs an output_shape")
        self.net.backend.kernels.check_labels("Step", labels, *found)

    def _drop_gradients(self) -> None:
        self.net.forget()
        for p in Tree(self.net).parameters():
            p.grad = None

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

    def _fixed(self) -> recording.Fixed:
        net, sgd = self.net, self.sgd
        return recording.fixed(
            net,
            sgd.velocities.values(),
            (
                *(p.requires_grad for p in Tree(net).parameters()),
                *((group.momentum, group.weight_decay) for group in sgd.groups),
            ),
        )


def _take_back(net: Container, recorder: recording.Recorder) -> None:
    """Leave the network no gradients that lie in the memory of recordings: they would keep all of it."""
    for p in Tree(net).parameters():
        if recorder.gives(p.grad):
            p.grad = None


@contextmanager
def _rates_of(sgd: SGD, rates: list[Any]) -> Iterator[None]:
    """The optimizer with these learning rates, arrays on the device, for a while."""
    numbers = [group.lr for group in sgd.groups]
    try:
        for group, rate in zip(sgd.groups, rates, strict=True):
            group.lr = rate
        yield
    finally:
        for group, number in zip(sgd.groups, numbers, strict=True):
            group.lr = number


# ---- NaN and infinity


def _telling(tree: Tree) -> list[Any]:
    """The gradients that are looked at. That of a Conv2d's or Linear's bias, the sum of all dy, is enough for both."""
    found: dict[int, Any] = {}
    for place, p in tree.owners():
        if p.requires_grad and not place.is_chain:
            found[id(place) if type(place.layer) in (Conv2d, Linear) else id(p)] = p.grad
    return list(found.values())


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def first_not_finite(net: Container, images: Any, labels: Any) -> str | None:
    """Repeat a step layer by layer, and say where NaN or infinity first appears; None if nowhere.

    A layer with a forward of its own is looked at as a whole.
    """

    def finite(array: Any) -> bool:
        return bool(net.backend.xp.isfinite(array).all())

    if not finite(images):
        return "NaN or infinity in the images"
    for name, p in net.named_parameters():
        if not finite(p.data):
            return f"NaN or infinity in {name}"
    steps = list(net.steps())
    if type(steps[-1][1]) is Softmax:  # the loss has it inside
        steps.pop()
    net.forget()
    try:
        x = images
        for name, layer in steps:
            whole = layer is net
            x = net.logits(x, training=True) if whole else call_forward(layer, x, training=True)
            if not finite(x):
                return f"NaN or infinity first appears in the forward pass of {_called(name, layer)}"
        _, dy = losses.softmax_cross_entropy(x, labels)
        for name, layer in reversed(steps):
            dy = call_backward(layer, dy, accumulate=False, input_grad=True)
            if not all(map(finite, [dy, *(p.grad for _, p in layer.named_parameters() if p.requires_grad)])):
                return f"NaN or infinity first appears in the backward pass of {_called(name, layer)}"
        return None
    finally:
        net.forget()


def _called(name: str, layer: Layer) -> str:
    return f"{name}, {layer.label}" if name else layer.label
