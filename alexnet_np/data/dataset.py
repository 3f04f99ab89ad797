"""Labelled pictures, in memory or on disk, and their split into a training and a test set."""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..reading import read_text
from .images import decode, read_bytes
from .parallel import in_order
from .preparation import Preparation

SPLIT_SEED = 0  # what is held out, or looked at for statistics, is the same whatever the seed of a training run


class DataError(ValueError):
    """Data that cannot be used; the message says which and why."""


NAMES = "classes.txt"
MAX_NAMES = 10_000_000  # bytes: a million names
MAX_NAME = 1000  # characters


def class_names(folder: Path) -> list[str] | None:
    """What stands in classes.txt, a line for each class; None where there is none, and classes are numbers. DataError.

    The names have to differ: names decide which class is which.
    """
    path = folder / NAMES
    if not path.is_file():
        return None
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
    """Labelled pictures: ``classes``, names; ``labels``, (N,) int64 positions in them; ``image(i)``.

    A picture may turn out to be unreadable: ``image`` raises PictureError or OSError then.
    """

    def __init__(self, classes: Sequence[str], labels: Any) -> None:
        self.classes = list(classes)
        self.labels = np.asarray(labels, np.int64)
        if self.labels.size and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            wrong = self.labels[(self.labels < 0) | (self.labels >= len(self.classes))][0]
            raise DataError(f"labels: expected 0 to {len(self.classes) - 1}, got {wrong}")

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> np.ndarray:
        """One picture, (H, W, 3) uint8."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        """What to call a picture in a message, such as its path."""
        return f"picture {index}"

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
    """Pictures in memory: (N, H, W) grey or (N, H, W, 3) colour, uint8."""

    def __init__(self, images: np.ndarray, labels: Any, classes: Sequence[str]) -> None:
        super().__init__(classes, labels)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
            raise DataError(f"images: expected uint8 (N, H, W) or (N, H, W, 3), got {images.dtype} {images.shape}")
        if len(images) != len(self.labels):
            raise DataError(f"expected a label for each image, got {len(images)} images and {len(self.labels)} labels")
        self.images = images

    def image(self, index: int) -> np.ndarray:
        image = self.images[index]
        return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)

    def content(self, index: int) -> bytes:
        return self.images[index].tobytes()

    def subset(self, indices: np.ndarray) -> "Arrays":
        return Arrays(self.images[indices], self.labels[indices], self.classes)


class Files(Dataset):
    """Pictures on disk, decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path], labels: Any, classes: Sequence[str]) -> None:
        super().__init__(classes, labels)
        self.paths = list(paths)

    def image(self, index: int) -> np.ndarray:
        return decode(self.content(index), self.paths[index])

    def content(self, index: int) -> bytes:
        return read_bytes(self.paths[index])

    def where(self, index: int) -> str:
        return str(self.paths[index])

    def subset(self, indices: np.ndarray) -> "Files":
        return Files([self.paths[i] for i in indices], self.labels[indices], self.classes)


def some(dataset: Dataset, number: int) -> Iterator[np.ndarray]:
    """Up to this number of a set's pictures, drawn once and for all, less those that cannot be read."""
    return readable(dataset, np.random.default_rng(SPLIT_SEED).permutation(len(dataset))[:number])


def readable(dataset: Dataset, indices: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures at these positions, decoded by threads, less those that cannot be read."""

    def picture(index: int) -> np.ndarray | None:
        with suppress(OSError, ValueError):
            return dataset.image(int(index))
        return None

    return (image for image in in_order(picture, indices) if image is not None)


@dataclass(frozen=True)
class Data:
    """A training and a test set of the same classes.

    ``photographs``: or figures, such as digits, that no camera has seen. ``size``: of the squares that a
    network sees, in pixels, where no other is asked for. ``passed_over``: how many files of a suffix are no pictures.
    """

    name: str
    train: Dataset
    test: Dataset
    photographs: bool
    size: int
    passed_over: Mapping[str, int] = field(default_factory=dict)

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
