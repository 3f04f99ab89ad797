"""Training: an epoch of steps, what is noted of it, and how far it has come.

    trainer = Trainer(net, data.train, data.test, data.preparation(), Recipe(epochs=5))
    while not trainer.finished:
        for progress in trainer.steps():                        # an epoch; stop anywhere, go on later
            print(progress.loss, progress.accuracy)
        print(trainer.end_epoch(trainer.evaluate(trainer.test.batches())))
    weights.save(net, "weights.safetensors")

On a CPU the same seed, machine and number of threads give the same bits, also when the run was stopped,
saved (``checkpoints``) and taken up again on the way. On another device a run goes on with other masks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from math import isnan, log
from time import perf_counter
from typing import Any

import numpy as np

from . import generators, optim
from .averaging import WeightAverage
from .backend import to_numpy
from .checkpoints import Checkpoint
from .data import WORKERS, DataError, Dataset, Loader, Preparation
from .data.digests import Digests
from .data.transfer import Transfer
from .layers import Container
from .metrics import Evaluation, evaluate
from .reading import checked
from .recipe import Recipe
from .step import NotFiniteError, Step


@dataclass
class Progress:
    """An epoch so far. ``lr`` and ``step_loss`` are those of the last step, ``waited`` the seconds without data."""

    images: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    lr: float = 0.0
    step_loss: float = 0.0
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
    test_top5: float
    images_per_second: float
    waiting: float
    seconds: float

    @property
    def rank(self) -> tuple[float, float]:
        """What makes one epoch better than another: a higher test accuracy, among equals a lower loss."""
        return self.test_accuracy, -self.test_loss


@dataclass(frozen=True)
class Masks:
    """The ``states`` of the random generators of dropout, on ``gpu`` or not."""

    gpu: bool
    states: list[Any]


@dataclass(frozen=True)
class State:
    """What a checkpoint says beside its tensors: see ``Trainer.checkpoint``."""

    data: dict[str, str]
    epoch: int
    batch: int
    schedule: dict[str, int | float | None]
    progress: Progress
    history: list[Epoch]
    dropout: Masks


class Trainer:
    """A network in training, any container, and how far it has come.

    It has done ``epoch`` epochs and ``batch`` batches of the next one.

    ``between_steps`` is False where a step has failed on its way: weights and position may not fit together then.
    """

    def __init__(
        self,
        net: Container,
        train: Dataset,
        test: Dataset,
        preparation: Preparation,
        recipe: Recipe,
        workers: int = WORKERS,
    ) -> None:
        self.net = net
        self.recipe = recipe
        as_bytes = net.device == "gpu"
        self.train = Loader(train, preparation, recipe.batch_size, recipe.seed, workers, as_bytes=as_bytes)
        self.test = Loader(test, preparation, recipe.batch_size, workers=workers, as_bytes=as_bytes)
        self.digests = Digests.of(train, test, preparation)
        self.sgd = recipe.new_optimizer(net.parameters())
        self.step = Step(net, self.sgd, label_smoothing=recipe.label_smoothing, parts=recipe.accumulate)
        self.schedule = recipe.new_schedule(self.sgd, len(self.train))
        self.average = WeightAverage(net, recipe.ema) if recipe.ema else None
        self.epoch = 0
        self.batch = 0
        self.between_steps = True
        self.progress = Progress()
        self._unread: tuple[int, int, Callable[[], list[Any]]] | None = None  # a step's number, images, and numbers
        self.history: list[Epoch] = []
        self.transfer = self._new_transfer()

    @property
    def steps_done(self) -> int:
        """Of all epochs."""
        return self.epoch * len(self.train) + self.batch

    @property
    def best(self) -> Epoch | None:
        """The epoch of the highest rank, the first of them among equals; None before the first."""
        return max(self.history, key=lambda row: row.rank, default=None)

    @property
    def stopped_early(self) -> bool:
        """Whether ``recipe.early_stopping`` epochs have brought nothing better."""
        limit = self.recipe.early_stopping
        return bool(limit and self.best and self.epoch - self.best.epoch >= limit)

    @property
    def finished(self) -> bool:
        return self.epoch >= self.recipe.epochs or self.stopped_early

    def steps(self) -> Iterator[Progress]:
        """Train to the end of the epoch, a batch at a time. The caller may stop in between, and go on later.

        On "gpu" the numbers of a step are read when the next one has been begun, so that the device need not wait:
        progress is a step behind there, but for the first step of an epoch and the last.
        """
        progress = self.progress
        start, waited = perf_counter(), self.train.waited
        for images, labels in self.transfer(self.train.batches(self.epoch, first=self.batch)):
            progress.lr = self.sgd.lr
            self.between_steps = False
            with self._numbered(self.batch + 1):
                loss, correct = self.step(images, labels)
            self.schedule.step()
            if self.average:
                self.average.update()
            self.batch += 1
            self._read()
            self._unread = self.batch, len(labels), self.transfer.back(loss, correct)
            if self.net.device != "gpu" or not progress.images or self.batch == len(self.train):
                self._read()
            progress.seconds += perf_counter() - start
            progress.waited += self.train.waited - waited
            self.between_steps = True
            yield progress
            start, waited = perf_counter(), self.train.waited

    def _read(self) -> None:
        """Note what the step said that has not been read. NotFiniteError, each time, where that was NaN."""
        if self._unread is None:
            return
        number, images, read = self._unread
        loss, correct = read()
        if isnan(loss):
            # The batch has made room for another one; the weights may be those of a step later.
            batches = self._new_transfer()(self.train.batches(self.epoch, first=number - 1))
            with self._numbered(number):
                self.step.raise_if_skipped(loss, *next(batches))
        self._unread = None
        self.progress.step_loss = float(loss)
        self.progress.loss_sum += self.progress.step_loss * images
        self.progress.images += images
        self.progress.correct += int(correct)

    @contextmanager
    def _numbered(self, step: int) -> Iterator[None]:
        try:
            yield
        except NotFiniteError as error:
            raise NotFiniteError(f"epoch {self.epoch + 1}, step {step}: {error}") from error

    def _new_transfer(self) -> Transfer:
        """With buffers of its own: those of an epoch that was left on the way hold its next batch."""
        return Transfer(self.net.backend, self.test.preparation)

    def delivered(self) -> AbstractContextManager[None]:
        """Within it the network has the weights that are tested and saved: their average, where there is one."""
        return self.average.in_place() if self.average else nullcontext()

    def evaluate(self, batches: Iterable[tuple[Any, Any]]) -> Evaluation:
        """Test the weights that are to be delivered.

        DataError where none of the images can be read. NotFiniteError where the training has diverged: the last step
        may have made weights that are NaN, or that make every answer NaN.
        """
        try:
            with self.delivered():
                _raise_if_not_finite(self.net.backend.xp, self.net.state_dict())
                return evaluate(self.net, self._new_transfer()(batches))
        except NotFiniteError as error:
            raise NotFiniteError(f"the test after step {self.steps_done}: {error}") from error
        except ValueError as error:
            number = len(self.test.dataset)
            if len(self.test.skipped) < number:
                raise
            raise DataError(f"none of the {number} test pictures can be read") from error

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
                test_top5=result.top5,
                images_per_second=progress.images_per_second,
                waiting=progress.waiting,
                seconds=progress.seconds,
            )
        )
        if isinstance(self.schedule, optim.ReduceLROnPlateau):
            self.schedule.step(1 - result.top1)
        self.epoch, self.batch, self.progress = self.epoch + 1, 0, Progress()
        return self.history[-1]

    def checkpoint(self) -> Checkpoint:
        """All that decides how the training goes on: weights, their average, velocities, schedule, masks, position.

        Order and crops follow from the seed and the position; the best epoch, from the history. NotFiniteError where
        the training has diverged: a run that is resumed from there would, too.
        """
        self._read()
        tensors = {f"net.{name}": to_numpy(array) for name, array in self.net.state_dict().items()}
        tensors |= {f"velocity.{name}": to_numpy(array) for name, array in self.sgd.velocities.items()}
        if self.average:
            tensors |= {f"average.{name}": to_numpy(array) for name, array in self.average.arrays.items()}
        _raise_if_not_finite(np, tensors)
        tensors |= {f"data.{name}": numbers for name, numbers in self.digests.images.items()}
        state = {
            "data": self.digests.texts,
            "epoch": self.epoch,
            "batch": self.batch,
            "schedule": self.schedule.state(),
            "progress": asdict(self.progress),
            "history": [asdict(row) for row in self.history],
            "dropout": {"gpu": self.net.device == "gpu", "states": generators.states(self.net)},
        }
        return Checkpoint(state, tensors)

    def _check_state(self, state: State) -> None:
        """ValueError where the state cannot be of this run."""
        if state.epoch < 0 or not 0 <= state.batch <= len(self.train) or len(state.history) != state.epoch:
            expected = f"batches up to {len(self.train)} and a line of the history for each epoch"
            got = f"epoch {state.epoch}, batch {state.batch} and {len(state.history)} lines"
            raise ValueError(f"checkpoint: expected {expected}, got {got}")
        self.schedule.check_state(state.schedule)

    def _check_tensors(self, checkpoint: Checkpoint) -> None:
        """ValueError where momentum or averages are not those of the network's parameters."""
        shapes = {name: tuple(p.data.shape) for name, p in self.net.named_parameters()}
        for kind, whole in (("velocity", False), ("average", self.average is not None)):
            arrays = checkpoint.part(kind)
            for name, array in arrays.items():
                if name not in shapes:
                    raise ValueError(f"checkpoint: {kind}.{name:.200}: the network has no such parameter")
                if shapes[name] != array.shape:
                    raise ValueError(f"checkpoint: {kind}.{name}: expected shape {shapes[name]}, got {array.shape}")
                if array.dtype.kind != "f":
                    raise ValueError(f"checkpoint: {kind}.{name}: expected floating-point numbers, got {array.dtype}")
            if whole and (missing := sorted(shapes.keys() - arrays.keys())):
                raise ValueError(f"checkpoint: expected {kind}.{missing[0]}, found none")

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from where a trainer of the same network, data and recipe was.

        ValueError or KeyError, and nothing changed, where the network, the pictures or their preparation are others.
        """
        state: State = checked("checkpoint", checkpoint.state, State)
        if difference := self.digests.difference(state.data, checkpoint.part("data")):
            raise ValueError(f"checkpoint: {other_data(difference)}")
        self._check_state(state)
        same_masks = state.dropout.gpu == (self.net.device == "gpu")  # each draws masks of its own
        if same_masks:
            generators.check_states(self.net, state.dropout.states)
        self._check_tensors(checkpoint)
        self.net.load_state_dict(checkpoint.part("net"))
        backend = self.net.backend
        self.sgd.velocities = {name: backend.asarray(v) for name, v in checkpoint.part("velocity").items()}
        self.epoch, self.batch = state.epoch, state.batch
        if self.average:
            self.average.arrays = {name: backend.asarray(e) for name, e in checkpoint.part("average").items()}
            self.average.steps = self.steps_done
        self.schedule.load_state(state.schedule)
        self.progress, self._unread = state.progress, None
        self.history = list(state.history)
        if same_masks:
            generators.set_states(self.net, state.dropout.states)


def other_data(difference: str) -> str:
    """A sentence that a run cannot go on with other data than it began with. See ``Digests.difference``."""
    return (
        f"the data are not those that the run began with: {difference}; paths within the data's folder, classes, order "
        "and sizes of the images, settings and mean image have to be the same"
    )


def _raise_if_not_finite(xp: Any, arrays: Mapping[str, Any]) -> None:
    """NotFiniteError with the name of the first of these arrays that holds NaN or infinity."""
    for name, array in arrays.items():
        if not bool(xp.isfinite(array).all()):
            raise NotFiniteError(f"NaN or infinity in {name}")


def unlikely_first_loss(loss: float, num_classes: int) -> str | None:
    """A warning where the loss of the first batch is far from ln K, that of a network that knows nothing yet."""
    expected = log(num_classes)
    if abs(loss - expected) <= 0.3 * expected:
        return None
    return (
        f"the first loss is {loss:.3f}, where ln {num_classes} = {expected:.3f} was expected of a network that knows "
        "nothing yet: are the pictures normalised, and the first weights of the usual size?"
    )
