"""What a training run leaves in its folder, on the way and at its end.

A file that cannot be written on the way (a full disk, say) is reported, and the training goes on: what was
there before is still whole. At the end it is an error. Where the whole folder has gone, it is one at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from time import monotonic

from .. import artist, checkpoints, figures, runs, weights
from ..artist import Artist, Job
from ..drawing import missing
from ..events import Events
from ..metrics import Evaluation
from ..run_lock import FolderGoneError, RunLock
from ..step import NotFiniteError
from ..training import Epoch, Progress, Trainer

TOLD = 5  # pictures that could not be read, after an epoch


class Keeper:
    """Writes the folder of a run, which ``lock`` is on. ``say`` tells a person something; minutes are the least between
    two. ``description`` is what its files of weights say of themselves.

    What writes raises FolderGoneError where the folder was deleted, moved or replaced.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        trainer: Trainer,
        description: weights.Description,
        data_name: str,
        lock: RunLock,
        checkpoint_minutes: float,
        figure_minutes: float,
        tensorboard: bool,
    ) -> None:
        self.say = say
        self.trainer = trainer
        self.description = description
        self.data_name = data_name
        self.lock = lock
        self.folder = folder = lock.folder
        self.checkpoint_seconds = 60 * checkpoint_minutes
        self.figure_seconds = 60 * figure_minutes
        self.result: Evaluation | None = None
        self.best = runs.best_kept(folder, trainer.history)
        # Best weights of epochs after the checkpoint, or without one. They stay until it comes to these epochs again.
        self.stale = {*runs.best_files(folder)} - {line.epoch for line in trainer.history}
        # By checkpoint: the epochs among which a run that is resumed from it finds its best weights.
        known = {*runs.best_files(folder)} - self.stale
        self.wanted = dict.fromkeys(checkpoints.in_ring(folder / runs.CHECKPOINTS), known)
        if self.stale:
            say(f"{self._stale_names()}: from the training that was lost; kept until that epoch is trained again")
        self.skipped = runs.read_skipped(folder)
        self.saved = self.drawn = monotonic()
        self.artist = Artist(say) if find_spec("matplotlib") else None
        self.events: Events | None = None
        if tensorboard:
            with self._going_on():
                self.events = Events(folder / runs.EVENTS, trainer.steps_done)

    def step(self, progress: Progress) -> None:
        """After a step."""
        self._note(lambda events: events.step(self.trainer.steps_done, progress))
        if monotonic() - self.saved >= self.checkpoint_seconds:
            self.checkpoint()

    def epoch(self, line: Epoch, result: Evaluation) -> None:
        """After an epoch and its test."""
        trainer, self.result = self.trainer, result
        self._note(lambda events: events.epoch(trainer.steps_done, line))
        self._tell_of_skipped()
        with self._going_on():
            runs.write_history(self.folder, trainer.history)
            runs.write_evaluation(self.folder, trainer.test.dataset.classes, result)
        if self.best is None or line.rank > self.best.rank:
            with self._going_on(), trainer.delivered():
                weights.save(trainer.net, runs.best_path(self.folder, line.epoch), self.description)
                self.best = line
                self._remove_outdone()
        if line.epoch in self.stale:
            self.stale.remove(line.epoch)
            with self._going_on():
                self._remove_outdone()
        due = monotonic() - self.drawn >= self.figure_seconds and not trainer.finished
        if self.artist and self.artist.is_free() and due:
            self.artist.draw(self._figures(result))
            self.drawn = monotonic()

    def checkpoint(self) -> None:
        """Save all that it takes to go on from here."""
        with self._going_on():
            self._checkpoint()
        self.saved = monotonic()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Around the training: an error between two steps, such as data that are gone, leaves a checkpoint of there."""
        try:
            yield
        except (FolderGoneError, NotFiniteError):  # there is no place for a checkpoint, or nothing worth one
            raise
        except Exception:
            if self.trainer.steps_done and self.trainer.between_steps:
                with suppress(FolderGoneError, NotFiniteError):
                    self.checkpoint()
            raise

    def stopped(self) -> None:
        """After a stop on the way: a checkpoint, or an OSError that says why not."""
        self.lock.check()
        self._checkpoint()
        runs.write_history(self.folder, self.trainer.history)

    def finish(self) -> Epoch:
        """After the last epoch: the result, and the line of the epoch whose weights it is.

        After an early stop that is the best epoch whose weights could be kept. OSError where the weights cannot be
        written; the checkpoints stay then. What else fails, such as a last test, costs nothing that was trained.
        """
        trainer, folder, outcome = self.trainer, self.folder, self.trainer.history[-1]
        if trainer.stopped_early and self.best and self.best.rank > outcome.rank:
            try:
                weights.load(trainer.net, runs.best_path(folder, self.best.epoch))
            except (OSError, ValueError) as error:
                self.say(f"Warning: {error}; the last epoch's weights are the result")
            else:
                trainer.average, outcome, self.result = None, self.best, None
        # Before the weights are there: once they are, only checkpoints are to be removed and figures to be drawn.
        try:
            self.result = self.result or trainer.evaluate(trainer.test.batches())
            with self._going_on(""):
                runs.write_history(folder, trainer.history)
                runs.write_evaluation(folder, trainer.test.dataset.classes, self.result)
        except (FolderGoneError, NotFiniteError):
            raise
        except BaseException:
            self._deliver()
            raise
        self._deliver()
        if self.artist:
            self.artist.wait()
            artist.draw(self._figures(self.result), self.say)
        else:
            self.say(
                "There is no figure: matplotlib, which draws it, is not installed (pip install 'alexnet-np[demo]')"
            )
        self.lock.check()
        return outcome

    def _deliver(self) -> None:
        """Write the result. From then on the run is finished, whatever may fail."""
        self.lock.check()
        with self.trainer.delivered():
            weights.save(self.trainer.net, self.folder / runs.WEIGHTS, self.description)
        checkpoints.remove_ring(self.folder / runs.CHECKPOINTS)
        if self.stale:
            self.say(f"Removed, because from the training that was lost: {self._stale_names()}")
            self.stale = set()
        self._remove_outdone()

    def close(self) -> None:
        self._note(Events.close)
        if self.artist:
            self.artist.wait()

    def _checkpoint(self) -> None:
        trainer = self.trainer
        self._tell_of_skipped()  # who goes on from here does not come to them again
        path = checkpoints.save_in_ring(self.folder / runs.CHECKPOINTS, trainer.steps_done, trainer.checkpoint())
        self.wanted[path] = self._best_epoch()
        self._remove_outdone()

    def _remove_outdone(self) -> None:
        """Remove the weights of epochs that are not the best any more, nor wanted by a checkpoint that is there."""
        self.wanted = {path: epochs for path, epochs in self.wanted.items() if path.exists()}
        runs.remove_best(self.folder, keep=self._best_epoch().union(self.stale, *self.wanted.values()))

    def _stale_names(self) -> str:
        return ", ".join(runs.best_path(self.folder, epoch).name for epoch in sorted(self.stale))

    def _best_epoch(self) -> set[int]:
        """That of the best weights; none where none are kept."""
        return {self.best.epoch} if self.best else set()

    def _note(self, write: Callable[[Events], None]) -> None:
        """Write events. A failure ends them: what follows a record that is not whole could not be read."""
        if self.events is None:
            return
        try:
            write(self.events)
        except OSError as error:
            self.say(f"Warning: {self.events.path} cannot be written ({error}); it ends here, the training goes on")
            with suppress(OSError):
                self.events.close()
            self.events = None

    def _figures(self, result: Evaluation) -> list[Job]:
        """What is to be drawn, with all that it needs from the network. A failure is a warning."""
        trainer, folder = self.trainer, self.folder
        title = f"{type(trainer.net).__name__} on {self.data_name}: test accuracy {100 * result.top1:.1f} %"
        classes = trainer.test.dataset.classes
        jobs = [Job(figures.confusion_figure, folder / runs.CONFUSION_FIGURE, (title, classes, result))]
        try:
            with trainer.delivered():
                shown = figures.sample(trainer.net, trainer.test)
                kernels = figures.first_kernels(trainer.net, shown[0])
        except Exception as error:  # test images that are gone, a network without a convolution, ...
            self.say(missing(folder / runs.FIGURE, error))
        else:
            arguments = (title, trainer.history, kernels, *shown)
            jobs.append(Job(figures.training_figure, folder / runs.FIGURE, arguments))
        return jobs

    def _tell_of_skipped(self) -> None:
        """Pictures that could not be read, once for each; a file has all. Where it cannot be written, again later."""
        skipped = self.trainer.train.skipped | self.trainer.test.skipped
        new = {path: reason for path, reason in skipped.items() if path not in self.skipped}
        if not new:
            return
        with self._going_on():
            runs.write_skipped(self.folder, self.skipped | new)
            self.skipped |= new
        lines = [f"  {path}: {reason}" for path, reason in list(new.items())[:TOLD]]
        more = [f"  and {len(new) - TOLD} more"] if len(new) > TOLD else []
        number = "1 picture" if len(new) == 1 else f"{len(new)} pictures"
        self.say("\n".join([f"Warning: {number} could not be read ({runs.SKIPPED} has all):", *lines, *more]))

    @contextmanager
    def _going_on(self, then: str = "; the training goes on") -> Iterator[None]:
        """What cannot be written is a warning, unless the whole folder has gone: then FolderGoneError is raised."""
        self.lock.check()
        try:
            yield
        except OSError as error:
            self.lock.check()
            self.say(f"Warning: {error}{then}")
