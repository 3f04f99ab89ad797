"""What a training run tells a person, and how it puts it."""

import sys
from collections.abc import Callable, Iterator
from errno import EINVAL, EIO, EPIPE
from math import log
from typing import TYPE_CHECKING

from .common import discard, listed

if TYPE_CHECKING:
    from ..data import Data
    from ..training import Epoch, Progress, Trainer

WARNINGS = 5  # about data; check-data has all


UNREAD = (EPIPE, EINVAL)  # Windows says the latter


class Say:
    """Prints for a person: to standard output, or beside it where that is a program's. Never raises OSError.

    Where a terminal has gone (a lost connection, nohup), nothing more is printed. Where the reader of a pipe has gone,
    as in ``... | head``, ``unread`` is called, too.
    """

    def __init__(self, json: bool, unread: Callable[[], None]) -> None:
        self.file = sys.stderr if json else sys.stdout
        self.unread = unread

    def __call__(self, text: str) -> None:
        from tqdm import tqdm

        try:
            tqdm.write(text, file=self.file)  # above the bar, where there is one
            self.file.flush()
        except OSError as error:  # a full disk may have room again
            if error.errno in (EIO, *UNREAD):
                discard(self.file)
            if error.errno in UNREAD:
                self.unread()


def about(data: "Data") -> Iterator[str]:
    """A line for each note and warning about the data: what was chosen, what is ignored, what may be wrong."""
    from ..reading import printable

    yield from (f"Note: {printable(note)}" for note in data.notes)
    yield from (f"Warning: {printable(warning)}" for warning in data.warnings[:WARNINGS])
    if len(data.warnings) > WARNINGS:
        yield f"Warning: and {len(data.warnings) - WARNINGS:,} more of these: alexnet-np check-data lists them"
    if data.passed_over:
        yield (
            "Warning: files are ignored, because their names end in no format that is read: "
            f"{printable(listed(data.passed_over))} (alexnet-np check-data says what else may be wrong)"
        )


def first_loss(loss: float, num_classes: int) -> str:
    from ..training import unlikely_first_loss

    if warning := unlikely_first_loss(loss, num_classes):
        return f"Warning: {warning}"
    return f"first loss {loss:.3f}; a network that knows nothing has ln {num_classes} = {log(num_classes):.3f}"


def checkpoints(minutes: float) -> str:
    if not minutes:
        return "A checkpoint after each step"
    each = "every minute" if minutes == 1 else f"every {minutes:g} minutes"
    return f"A checkpoint {each}: a crash loses what came after the last one, and before the first one everything"


def position(trainer: "Trainer") -> str:
    return f"{epochs(trainer.epoch)} and {trainer.batch} of {len(trainer.train)} steps"


def bar_text(progress: "Progress") -> str:
    return (
        f"loss {progress.loss:.3f}, accuracy {percent(progress.accuracy)}, {progress.images_per_second:.0f} images/s, "
        f"{100 * progress.waiting:.0f} % waiting for data"
    )


def epoch_text(line: "Epoch", epochs: int) -> str:
    return (
        f"epoch {line.epoch:>{len(str(epochs))}}/{epochs}"
        f"   train: loss {line.train_loss:.3f}, accuracy {percent(line.train_accuracy):>7}"
        f"   test: loss {line.test_loss:.3f}, accuracy {percent(line.test_accuracy):>7}"
        f"   {line.images_per_second:.0f} images/s"
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def epochs(number: int) -> str:
    return "1 epoch" if number == 1 else f"{number} epochs"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
