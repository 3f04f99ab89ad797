"""Labelled pictures, in memory or on disk, and their split into a training and a test set."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..reading import read_text
from .images import decode, read_bytes
from .parallel import in_order
from .preparation import Preparation

SPLIT_SEED = 0  # what is held out, or looked at for statistics, is the same whatever the seed of a training run


Result = TypeVar("Result")


class DataError(ValueError):
    """Data that cannot be used; the message says which and why."""


class LabelError(DataError):
    """A label that is no position in the classes; the message begins with its place."""


NAMES = "classes.txt"
MAX_NAMES = 10_000_000  # bytes: a million names
MAX_NAME = 1000  # characters


def class_names(folder: Path) -> list[str] | None:
    """What stands in classes.txt, a line for each class; None where there is none, and classes are numbers. DataError.

    The names have to differ: names decide which class is which.
    """
    path = folder / NAMES
    return distinct_names(path) if path.is_file() else None


def distinct_names(path: Path) -> list[str]:
    """The lines of a text file, which have to differ. DataError."""
    names = read_names(path)
    if twice := repeated(names):
        raise DataError(f"{path}: expected different names, got {twice!r:.200} more than once: tell them apart")
    return names


def read_names(path: str | os.PathLike[str]) -> list[str]:
    """The lines of a text file, less blanks at their ends, of at most MAX_NAME characters each.

    Raises OSError where it cannot be read; DataError where a line is empty or too long, for other encodings than UTF-8,
    and for files larger than MAX_NAMES.
    """
    try:
        text = read_text(path, MAX_NAMES)
    except ValueError as error:
        raise DataError(str(error)) from error
    names = [line.strip() for line in text.rstrip().split("\n")]
    if "" in names:
        raise DataError(f"{path}: expected a name in each line, got none in line {names.index('') + 1}")
    if longest := next((number for number, name in enumerate(names, 1) if len(name) > MAX_NAME), None):
        raise DataError(
            f"{path}: expected names of at most {MAX_NAME:,} characters, got a longer one in line {longest}"
        )
    return names


def repeated(names: Sequence[str]) -> str | None:
    """The first name that stands there more than once."""
    return next((name for name, number in Counter(names).items() if number > 1), None)


class Dataset:
    """Labelled images: ``classes``, names; ``labels``, (N,) int64 positions in them; ``image(i)``.

    An image may turn out to be unreadable: ``image`` raises PictureError or OSError then.
    A label that is no position raises LabelError with the place that ``where`` gives, which a class that defines it has
    to be ready for.
    """

    def __init__(self, classes: Sequence[str], labels: Any) -> None:
        self.classes = list(classes)
        self.labels = np.asarray(labels, np.int64)
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            wrong = np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))
            raise LabelError(
                f"{self.where(int(wrong[0]))}: labels: expected 0 to {len(self.classes) - 1}, got "
                f"{self.labels[wrong[0]]} ({len(self.classes):,} classes, {len(wrong):,} such labels)"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        """One picture, (H, W, 3) uint8."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """What to call an image in a message, such as its path."""
        return f"image {index}"

    def content(self, index: int) -> bytes:
        """What of a picture is stored: its file, or its pixels. Errors as of ``image``."""
        raise NotImplementedError

    def subset(self, indices: np.ndarray) -> "Dataset":
        """The pictures at these positions."""
        raise NotImplementedError

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """All positions in a random order, in which an epoch goes through them."""
        return rng.permutation(len(self))

    def reading(self, order: np.ndarray) -> Generator[Callable[[], np.ndarray], None, None]:
        """For each position in turn, what gives its picture: to be called from any thread, once.

        What has to be read in sequence is read by the iterator; what can be done side by side, by the call.
        """
        return (partial(self.image, int(index)) for index in order)


class Arrays(Dataset):
    """Images in memory: (N, H, W) grey or (N, H, W, 3) colour, uint8. ``where`` names the one at a position."""

    def __init__(
        self, images: np.ndarray, labels: Any, classes: Sequence[str], where: Callable[[int], str] | None = None
    ) -> None:
        self._where = where or super().where
        super().__init__(classes, labels)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            raise DataError(f"images: expected uint8 (N, H, W) or (N, H, W, 3), got {images.dtype} {images.shape}")
        if len(images) != len(self.labels):
            raise DataError(f"expected a label for each image, got {len(images)} images and {len(self.labels)} labels")
        self.images = images

    def image(self, index: int) -> np.ndarray:
        image = self.images[index]
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)

    def where(self, index: int) -> str:
        return self._where(index)

    def content(self, index: int) -> bytes:
        return self.images[index].tobytes()

    def subset(self, indices: np.ndarray) -> "Arrays":
        return Arrays(
            self.images[indices], self.labels[indices], self.classes, lambda index: self._where(int(indices[index]))
        )


class Files(Dataset):
    """Pictures on disk, decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path], labels: Any, classes: Sequence[str]) -> None:
        self.paths = list(paths)
        super().__init__(classes, labels)

    def image(self, index: int) -> np.ndarray:
        return decode(self.content(index), self.paths[index])

    def content(self, index: int) -> bytes:
        return read_bytes(self.paths[index])

    def where(self, index: int) -> str:
        return str(self.paths[index])

    def subset(self, indices: np.ndarray) -> "Files":
        return Files([self.paths[i] for i in indices], self.labels[indices], self.classes)


def some(dataset: Dataset, number: int, of_each: Callable[[np.ndarray], Result]) -> Iterator[Result]:
    """``of_each`` of up to this number of a set's images, drawn once and for all, less those that cannot be read."""
    return readable(dataset, np.random.default_rng(SPLIT_SEED).permutation(len(dataset))[:number], of_each)


def readable(dataset: Dataset, indices: np.ndarray, of_each: Callable[[np.ndarray], Result]) -> Iterator[Result]:
    """``of_each`` of the images at these positions, by threads, less those that cannot be read.

    An image that ``of_each`` refuses with a ValueError is left out, too: training skips it by the same rule. Only
    results wait to be taken, because images may be large.
    """

    def result(index: int) -> list[Result]:
        with suppress(OSError, ValueError):
            return [of_each(dataset.image(int(index)))]
        return []

    return chain.from_iterable(in_order(result, indices))


class Part(NamedTuple):
    """A part of a data set, and what its folder or its files are ``called``."""

    called: str
    dataset: Dataset


@dataclass(frozen=True)
class Data:
    """A training and a test set of the same classes.

    ``test`` is what a run is judged by after each epoch: the validation part of data that have one, else the test part,
    else a share of the training part. ``judged_by`` says which, in words. ``kept_aside`` is the test part of data that
    have both.

    ``photographs``: or figures, such as digits, that no camera has seen. ``size``: of the squares that a
    network sees, in pixels, where no other is asked for. ``passed_over``: how many files of a suffix are no images.
    ``notes`` and ``warnings`` are sentences for a person: what was chosen, and what may be wrong.
    """

    name: str
    train: Dataset
    test: Dataset
    photographs: bool
    size: int
    passed_over: Mapping[str, int] = field(default_factory=dict)
    judged_by: str = "the test set"
    kept_aside: Dataset | None = None
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()

    def preparation(self, size: int | None = None) -> Preparation:
        """How these pictures are prepared, for a network that takes ``size`` pixels."""
        return (Preparation.photographs if self.photographs else Preparation.figures)(size or self.size)


def split(dataset: Dataset, share: float = 0.2) -> tuple[Dataset, Dataset]:
    """The set without, and with only, a share of each class's pictures, drawn once and for all."""
    rng = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(dataset), bool)
    for label, name in enumerate(dataset.classes):
        positions = rng.permutation(np.flatnonzero(dataset.labels == label))
        if len(positions) == 1:
            raise DataError(f"class {name}: expected at least 2 images, one of them to test on, got 1")
        held_out[positions[: max(1, round(share * len(positions)))]] = True
    return dataset.subset(np.flatnonzero(~held_out)), dataset.subset(np.flatnonzero(held_out))
