"""Training: one step, an epoch of steps, the evaluation, the checkpoint.

    trainer = Trainer(net, data.train, data.test, data.preparation(), Recipe(epochs=5))
    while not trainer.finished:
        for progress in trainer.steps():                        # an epoch; stop anywhere, go on later
            print(progress.loss, progress.accuracy)
        print(trainer.end_epoch(evaluate(net, trainer.test.batches())))
    weights.save(net, "weights.safetensors")

On a CPU the same seed, machine and number of threads give the same bits, also when the run was stopped,
saved and taken up again on the way.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite, log
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from . import losses
from .backend import to_numpy
from .data import Dataset, Loader, Preparation
from .files import written_whole
from .layers import Dropout, Softmax
from .models import Network
from .optim import SGD, CosineLR


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are made for the 1,438 digits that ``alexnet-np train`` begins with.

    The learning rate rises to ``lr`` during ``warmup`` epochs, then falls to 0 along half a cosine.
    ``seed`` fixes the order of the pictures and their crops; a network that is made with the same seed
    has its first weights and dropout masks from it, too.
    """

    # 98.1 and 98.3 % of the held-out digits with two seeds. With batches of 64 the loss stays at ln 10 for longer, and
    # more epochs are needed in all; without random crops (Preparation.figures) the training digits are learnt by heart
    # and the test stays at 96 %.
    epochs: int = 18
    batch_size: int = 32
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: int = 0
    seed: int = 0


class NotFiniteError(ArithmeticError):
    """A step met NaN or infinity; the message says in which layer first. The weights are those before the step."""


# Overflow is what the check below is for: no need of NumPy's warnings on top of it.
@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def train_step(net: Network, sgd: SGD, images: Any, labels: Any) -> tuple[float, int]:
    """Forward, loss, backward, update. Returns the loss, and how many of the batch were right.

    images (N, H, W, 3), labels (N,) integers; NumPy arrays are moved to the network's device.
    """
    images = net.backend.asarray(images, net.dtype)
    masks = dropout_states(net)
    logits = net.logits(images, training=True)
    loss, dlogits = losses.softmax_cross_entropy(logits, labels)
    net.backward(dlogits)
    if not _all_finite(loss, net):
        set_dropout_states(net, masks)
        raise NotFiniteError(first_not_finite(net, images, labels))
    sgd.step()
    return float(loss), int(losses.top_k_correct(logits, labels, 1).sum())


@dataclass(frozen=True)
class Evaluation:
    """What a network makes of labelled images: mean loss, shares of right answers from 0 to 1."""

    images: int
    loss: float
    top1: float
    top5: float


def evaluate(net: Network, batches: Iterable[tuple[Any, Any]]) -> Evaluation:
    """Loss and accuracy over batches of images and labels, as ``Loader.batches`` gives them."""
    images = top1 = top5 = 0
    loss_sum = 0.0
    for x, labels in batches:
        logits = net.logits(net.backend.asarray(x, net.dtype), keep=False)
        loss, _ = losses.softmax_cross_entropy(logits, labels)
        loss_sum += float(loss) * len(labels)
        top1 += int(losses.top_k_correct(logits, labels, 1).sum())
        top5 += int(losses.top_k_correct(logits, labels, 5).sum())
        images += len(labels)
    if images == 0:
        raise ValueError("evaluate: batches: expected at least one, got none")
    return Evaluation(images, loss_sum / images, top1 / images, top5 / images)


def probabilities(net: Network, images: Any) -> np.ndarray:
    """What the network says of images (N, H, W, 3): (N, num_classes), in main memory."""
    logits = net.logits(net.backend.asarray(images, net.dtype), keep=False)
    return to_numpy(net.backend.kernels.softmax_forward(logits)[0])


@dataclass
class Progress:
    """An epoch so far. ``lr`` is that of the last step, ``waited`` the seconds spent waiting for data."""

    images: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    lr: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0

    @property
    def loss(self) -> float:
        return self.loss_sum / max(1, self.images)

    @property
    def accuracy(self) -> float:
        return self.correct / max(1, self.images)

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """The share of the time that was spent waiting for data."""
        return self.waited / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Epoch:
    """A line of the history. ``lr`` is that of the last step; accuracies and ``waiting`` are shares from 0 to 1."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    images_per_second: float
    waiting: float
    seconds: float


class Trainer:
    """A network in training, and how far it has come: ``epoch`` epochs and ``batch`` batches of the next one."""

    def __init__(self, net: Network, train: Dataset, test: Dataset, preparation: Preparation, recipe: Recipe) -> None:
        self.net = net
        self.recipe = recipe
        self.train = Loader(train, preparation, recipe.batch_size, recipe.seed)
        self.test = Loader(test, preparation, recipe.batch_size)
        self.sgd = SGD(net.parameters(), recipe.lr, recipe.momentum, recipe.weight_decay)
        per_epoch = len(self.train)
        self.schedule = CosineLR(self.sgd, total=recipe.epochs * per_epoch, warmup=recipe.warmup * per_epoch)
        self.epoch = 0
        self.batch = 0
        self.progress = Progress()
        self.history: list[Epoch] = []

    @property
    def finished(self) -> bool:
        return self.epoch >= self.recipe.epochs

    def steps(self) -> Iterator[Progress]:
        """Train to the end of the epoch, a batch at a time. The caller may stop in between, and go on later."""
        start, waited = perf_counter(), self.train.waited
        for images, labels in self.train.batches(self.epoch, first=self.batch):
            self.progress.lr = self.sgd.lr
            try:
                loss, correct = train_step(self.net, self.sgd, images, labels)
            except NotFiniteError as error:
                raise NotFiniteError(f"epoch {self.epoch + 1}, step {self.batch + 1}: {error}") from error
            self.schedule.step()
            self.batch += 1
            self.progress.images += len(labels)
            self.progress.loss_sum += loss * len(labels)
            self.progress.correct += correct
            self.progress.seconds += perf_counter() - start
            self.progress.waited += self.train.waited - waited
            yield self.progress
            start, waited = perf_counter(), self.train.waited

    def end_epoch(self, result: Evaluation) -> Epoch:
        """Note the epoch whose steps are done, and what the test said after it; returns its line of the history."""
        if self.batch < len(self.train):
            raise RuntimeError(f"end_epoch: expected {len(self.train)} steps before it, got {self.batch}")
        progress = self.progress
        self.history.append(
            Epoch(
                epoch=self.epoch + 1,
                lr=progress.lr,
                train_loss=progress.loss,
                train_accuracy=progress.accuracy,
                test_loss=result.loss,
                test_accuracy=result.top1,
                images_per_second=progress.images_per_second,
                waiting=progress.waiting,
                seconds=progress.seconds,
            )
        )
        self.epoch, self.batch, self.progress = self.epoch + 1, 0, Progress()
        return self.history[-1]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint: weights, velocities, generators, position, history; whole or not at all."""
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        tensors = {f"net.{name}": to_numpy(array) for name, array in self.net.state_dict().items()}
        tensors |= {f"velocity.{name}": to_numpy(array) for name, array in self.sgd.velocities.items()}
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "schedule_steps": self.schedule.steps,
            "progress": asdict(self.progress),
            "history": [asdict(row) for row in self.history],
            "dropout": dropout_states(self.net),
        }
        with written_whole(path) as unfinished:
            try:
                save_file(tensors, unfinished, metadata={"trainer": json.dumps(state)})
            except SafetensorError as error:
                raise OSError(f"checkpoint {path} could not be written ({error})") from error

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from a checkpoint that a trainer of the same network, data and recipe wrote.

        Raises FileNotFoundError, or ValueError for a file that is no checkpoint of this network.
        """
        state, tensors = _read_checkpoint(path)
        self.net.load_state_dict(tensors["net"])
        backend = self.net.backend
        self.sgd.velocities = {name: backend.asarray(array) for name, array in tensors["velocity"].items()}
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.schedule.steps = state["schedule_steps"]
        self.schedule.apply()
        self.progress = Progress(**state["progress"])
        self.history = [Epoch(**row) for row in state["history"]]
        set_dropout_states(self.net, state["dropout"])


def load_checkpoint_weights(net: Network, path: str | os.PathLike[str]) -> None:
    """Only the weights of a checkpoint, to evaluate a run that was stopped. Errors: see Trainer.load."""
    net.load_state_dict(_read_checkpoint(path)[1]["net"])


def _read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The state, and the tensors by kind ("net", "velocity") and name."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"checkpoint: there is no file {path}")
    tensors: dict[str, dict[str, Any]] = {"net": {}, "velocity": {}}
    try:
        with safe_open(path, "numpy") as file:
            state = json.loads((file.metadata() or {})["trainer"])
            names = file.keys()
            for key in names:
                kind, _, name = key.partition(".")
                tensors[kind][name] = file.get_tensor(key)
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a checkpoint, or not a whole one ({error})") from error
    return state, tensors


def unlikely_first_loss(loss: float, num_classes: int) -> str | None:
    """A warning where the loss of the first batch is far from ln K, that of a network that knows nothing yet."""
    expected = log(num_classes)
    if abs(loss - expected) <= 0.3 * expected:
        return None
    return (
        f"the first loss is {loss:.3f}, where ln {num_classes} = {expected:.3f} was expected of a network that knows "
        "nothing yet: are the pictures normalised, and the first weights of the usual size?"
    )


# ---- NaN and infinity


def _all_finite(loss: Any, net: Network) -> bool:
    """Whether loss and gradients are finite. Those of biases tell: they are the sums of all dy of their layers."""
    return isfinite(float(loss) + float(sum(p.grad.sum() for p in net.parameters() if p.data.ndim == 1)))


@np.errstate(over="ignore", invalid="ignore", divide="ignore")
def first_not_finite(net: Network, images: Any, labels: Any) -> str:
    """Repeat a step layer by layer, and say where NaN or infinity first appears."""

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
        if not all(map(finite, [dy, *(p.grad for p in layer.parameters())])):
            return f"NaN or infinity first appears in the backward pass of {name}, {layer.label}"
    return "NaN or infinity, but none when the step was repeated"


# ---- the generators of the dropout masks


def _dropout_generators(net: Network) -> list[np.random.Generator]:
    """Each generator once. CuPy's are left out: they do not tell their state."""
    generators = {id(layer.rng): layer.rng for _, layer in net.walk() if isinstance(layer, Dropout)}
    return [rng for rng in generators.values() if isinstance(rng, np.random.Generator)]


def dropout_states(net: Network) -> list[Any]:
    """The states of the generators that dropout draws its masks from (on a CPU; empty on a GPU)."""
    return [rng.bit_generator.state for rng in _dropout_generators(net)]


def set_dropout_states(net: Network, states: list[Any]) -> None:
    """Set the generators to states that ``dropout_states`` gave."""
    for rng, state in zip(_dropout_generators(net), states, strict=True):
        rng.bit_generator.state = state
