"""Labelled pictures, in memory or on disk, and their split into a training and a test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .images import read
from .preparation import Preparation

SPLIT_SEED = 0  # the held-out pictures are the same whatever the seed of a training run


class DataError(ValueError):
    """Data that cannot be used; the message says which and why."""


class Dataset:
    """Labelled pictures: ``classes``, names; ``labels``, (N,) int64 positions in them; ``image(i)``."""

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

    def subset(self, indices: np.ndarray) -> "Dataset":
        """The pictures at these positions."""
        raise NotImplementedError


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

    def subset(self, indices: np.ndarray) -> "Arrays":
        return Arrays(self.images[indices], self.labels[indices], self.classes)


class Files(Dataset):
    """Pictures on disk, decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path], labels: Any, classes: Sequence[str]) -> None:
        super().__init__(classes, labels)
        self.paths = list(paths)

    def image(self, index: int) -> np.ndarray:
        try:
            return read(self.paths[index])
        except ValueError as error:
            raise DataError(str(error)) from error

    def subset(self, indices: np.ndarray) -> "Files":
        return Files([self.paths[i] for i in indices], self.labels[indices], self.classes)


@dataclass(frozen=True)
class Data:
    """A training and a test set of the same classes. ``photographs``: or small figures, such as digits."""

    name: str
    train: Dataset
    test: Dataset
    photographs: bool

    def preparation(self, size: int | None = None) -> Preparation:
        """How these pictures are prepared, for a network that takes ``size`` pixels."""
        if self.photographs:
            return Preparation.photographs(size or 224)
        return Preparation.figures(size or 64)


def split(dataset: Dataset, share: float = 0.2) -> tuple[Dataset, Dataset]:
    """The set without, and with only, a share of each class's pictures, drawn once and for all."""
    rng = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(dataset), bool)
    for label, name in enumerate(dataset.classes):
        positions = rng.permutation(np.flatnonzero(dataset.labels == label))
        if len(positions) < 2:
            raise DataError(f"class {name}: expected at least 2 images, one of them to test on, got {len(positions)}")
        held_out[positions[: max(1, round(share * len(positions)))]] = True
    return dataset.subset(np.flatnonzero(~held_out)), dataset.subset(np.flatnonzero(held_out))
