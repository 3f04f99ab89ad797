"""What tells data from others: a run that is taken up again goes on with what it began with, or not at all.

An image is known by its class, its path within the data's folder and the size of its file, or by its pixels where they
are in memory. So data may be moved; files are not opened.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Self

import numpy as np

from ..reading import printable
from . import mean_image
from .dataset import Arrays, Dataset, Files
from .mean_image import MeanImage
from .preparation import Preparation
from .shards import Shards

TRAINING, TEST, PREPARATION = "training images", "test images", "preparation"


@dataclass(frozen=True)
class Digests:
    """``texts`` has a digest of each of the three, by what a person calls it.

    ``images`` has a number, uint64, for each image of ``sets``, in their order.
    """

    texts: dict[str, str]
    images: dict[str, np.ndarray]
    sets: dict[str, Dataset]

    @classmethod
    def of(cls, train: Dataset, test: Dataset, preparation: Preparation) -> Self:
        """OSError or ValueError where the mean image cannot be read."""
        sets = {TRAINING: train, TEST: test}
        root = _root(*sets.values())
        images = {name: np.array(list(_numbers(dataset, root)), np.uint64) for name, dataset in sets.items()}
        texts = {name: _of_set(dataset, images[name]) for name, dataset in sets.items()}
        return cls(texts | {PREPARATION: of_preparation(preparation)}, images, sets)

    def difference(self, texts: Mapping[str, str], images: Mapping[str, np.ndarray]) -> str | None:
        """In words, what is other than these say, and for images the first that is; None where all is the same.

        ``images`` may be empty: then no image is named.
        """
        others = [name for name, text in self.texts.items() if texts.get(name) != text]
        return " and ".join(f"other {name}{self._first(name, images)}" for name in others) or None

    def _first(self, name: str, images: Mapping[str, np.ndarray]) -> str:
        if name not in images or name not in self.images:
            return ""
        now, before = self.images[name], images[name]
        if before.ndim != 1:  # a damaged checkpoint's
            return ""
        both = min(len(now), len(before))
        if len(differing := np.flatnonzero(now[:both] != before[:both])):
            where = printable(self.sets[name].where(int(differing[0])))
            return f" (the first that differs is {where:.500})"
        return f" ({len(before):,} then, {len(now):,} now)" if len(now) != len(before) else ""


def of_preparation(preparation: Preparation) -> str:
    """Of all settings, and of the mean image itself: its path does not matter."""
    mean = preparation.mean_image
    digest = blake2b(json.dumps(asdict(replace(preparation, mean_image=None))).encode(), digest_size=16)
    if mean is not None:
        pixels = mean.pixels() if isinstance(mean, MeanImage) else mean_image.read(mean, preparation.resize)
        digest.update(np.ascontiguousarray(pixels, "<f4").data)
    return digest.hexdigest()


def _of_set(dataset: Dataset, numbers: np.ndarray) -> str:
    digest = blake2b(json.dumps(dataset.classes).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(dataset.labels, "<i8").data)
    digest.update(numbers.astype("<u8").data)
    return digest.hexdigest()


def _root(*sets: Dataset) -> str:
    """The folder that all files of these sets are in; "" where there is none."""
    folders = {
        os.path.dirname(path) for dataset in sets if isinstance(dataset, Files | Shards) for path in dataset.paths
    }
    with suppress(ValueError):  # on several drives, or there are none
        return os.path.commonpath(folders)
    return ""


def _numbers(dataset: Dataset, root: str) -> Iterator[int]:
    for index, label in enumerate(dataset.labels.tolist()):
        digest = blake2b(f"{dataset.classes[label]}\n".encode(errors="surrogateescape"), digest_size=8)
        if isinstance(dataset, Arrays):
            digest.update(np.ascontiguousarray(dataset.images[index]).data)
        else:
            digest.update(_name(dataset, index, root).encode(errors="surrogateescape"))
        yield int.from_bytes(digest.digest(), "little")


def _name(dataset: Dataset, index: int, root: str) -> str:
    """What an image is called in its data set, and its size in bytes."""
    if isinstance(dataset, Files):
        path = dataset.paths[index]
        return f"{_inside(root, path)}\n{_size(path)}"
    if isinstance(dataset, Shards):
        path = dataset.paths[dataset.shard[index]]
        return f"{_inside(root, path)}\n{dataset.names[index]}\n{dataset.start[index]}\n{dataset.size[index]}"
    return dataset.where(index)


def _inside(root: str, path: os.PathLike[str]) -> str:
    return os.fspath(path)[len(root) :].replace(os.sep, "/").lstrip("/")


def _size(path: os.PathLike[str]) -> int | None:
    with suppress(OSError):  # a file that cannot be read is skipped in training, too
        return os.stat(path).st_size
    return None
