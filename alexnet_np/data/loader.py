"""Batches, prepared by threads while the network works on the one before.

One thread reads what has to be read in sequence, the others decode, cut and colour the pictures, a few of a batch
each. Threads are enough: Pillow, NumPy and the kernels let go of the interpreter's lock while they work.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from time import perf_counter

import numpy as np

from .dataset import DataError, Dataset
from .images import PictureError
from .parallel import WORKERS
from .preparation import Preparation
from .remarks import hearing

Batch = tuple[np.ndarray, np.ndarray]

BATCHES_AHEAD = 3
TOGETHER = 8  # pictures that one thread prepares one after the other


class Loader:
    """The batches of a data set: images (N, size, size, 3) float32 and labels (N,) int64.

    With a ``seed``, for training: in an order of each epoch's own, the pictures augmented at random. A picture of an
    epoch is the same whatever came before it, and whatever the number of ``workers``. Without: for testing, in
    order, and with ``ten_crop`` ten views of each picture, (N, 10, size, size, 3). The last batch holds what
    is left.

    A picture that cannot be read does not end an epoch; ``skipped`` has its path and the reason. In training the next
    one of the epoch that can be read takes its place, with its own label: a batch keeps its size, and the batches
    after it their pictures, so that an epoch taken up in the middle is the rest of it. In a test it is left out.

    With ``as_bytes`` images come as uint8, not yet normalised: a GPU does that (transfer.py). Where that cannot be, as
    colours are changed or a mean image is subtracted, they come as ever.

    ``remarks`` has for each image on which Pillow or libtiff remarked something, by its path, the kinds of remarks.

    ``waited`` counts the seconds that batches kept their user waiting.
    """

    def __init__(
        self,
        dataset: Dataset,
        preparation: Preparation,
        batch_size: int,
        seed: int | None = None,
        workers: int = WORKERS,
        ten_crop: bool = False,
        as_bytes: bool = False,
    ) -> None:
        self.dataset = dataset
        self.preparation = preparation
        self.batch_size = batch_size
        self.seed = seed
        self.workers = workers
        self.ten_crop = ten_crop
        colours_stay = seed is None or not preparation.changes_colours
        self.as_bytes = as_bytes and colours_stay and preparation.mean_image is None
        self.waited = 0.0
        self.skipped: dict[str, str] = {}
        self.remarks: dict[str, set[str]] = {}

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.dataset) // self.batch_size)

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from the one with this number on."""
        order = self._order(epoch)
        start = first * self.batch_size
        ahead: deque[_Unfinished] = deque()
        with (
            closing(self.dataset.reading(order[start:])) as pictures,
            ThreadPoolExecutor(1, "loader-reader") as reader,
            ThreadPoolExecutor(self.workers, "loader") as workers,
        ):
            try:
                for at in range(start, len(order), self.batch_size):
                    places = range(at, min(at + self.batch_size, len(order)))
                    read = reader.submit(list, islice(pictures, len(places)))
                    ahead.append(_Unfinished(self, workers, read, order, places, epoch))
                    if len(ahead) >= BATCHES_AHEAD:
                        yield from self._next(ahead)
                while ahead:
                    yield from self._next(ahead)
            finally:  # also when the user stops in the middle
                for executor in (reader, workers):
                    executor.shutdown(wait=False, cancel_futures=True)

    def _next(self, ahead: "deque[_Unfinished]") -> Iterator[Batch]:
        start = perf_counter()
        images, labels, skipped = ahead.popleft().result()
        self.waited += perf_counter() - start
        self.skipped |= skipped
        if len(labels):  # a test's may have lost all its pictures
            yield images, labels

    def _order(self, epoch: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(len(self.dataset))
        return self.dataset.order(np.random.default_rng((self.seed, epoch)))

    def _cut(self, image: np.ndarray, index: int, epoch: int) -> np.ndarray:
        """What the network will see of a picture, not yet normalised."""
        if self.seed is not None:
            return self.preparation.for_training(image, np.random.default_rng((self.seed, epoch, index)))
        return self.preparation.ten_crops(image) if self.ten_crop else self.preparation.for_testing(image)


class _Unfinished:
    """A batch that threads are filling: the pictures at ``places`` of an epoch's order."""

    def __init__(
        self,
        loader: Loader,
        workers: Executor,
        read: "Future[list[Callable[[], np.ndarray]]]",
        order: np.ndarray,
        places: range,
        epoch: int,
    ) -> None:
        self.loader, self.read, self.order, self.places, self.epoch = loader, read, order, places, epoch
        size = loader.preparation.size
        views = (10,) if loader.ten_crop else ()
        dtype = np.uint8 if loader.as_bytes else np.float32
        self.images = np.empty((len(places), *views, size, size, 3), dtype)
        self.labels = np.full(len(places), -1, np.int64)
        self.parts = [workers.submit(self._fill, at) for at in range(0, len(places), TOGETHER)]

    def result(self) -> tuple[np.ndarray, np.ndarray, dict[str, str]]:
        """Images, labels, and path and reason of what was skipped."""
        skipped: dict[str, str] = {}
        for part in self.parts:
            skipped |= part.result()
        if skipped and self.loader.seed is None:
            there = self.labels >= 0
            return self.images[there], self.labels[there], skipped
        return self.images, self.labels, skipped

    def _fill(self, start: int) -> dict[str, str]:
        """Prepare a few pictures, from the one with this number in the batch on."""
        skipped: dict[str, str] = {}
        for number, picture in enumerate(self.read.result()[start : start + TOGETHER], start):
            place = self.places[number]
            if self._put(number, place, picture, skipped) or self.loader.seed is None:
                continue
            for other in range(place + 1, place + len(self.order)):
                other %= len(self.order)
                if self._put(number, other, partial(self.loader.dataset.image, int(self.order[other])), {}):
                    break
            else:
                path, reason = skipped.popitem()
                raise DataError(f"none of the {len(self.order)} pictures can be read: {path}: {reason}")
        return skipped

    def _put(self, number: int, place: int, picture: Callable[[], np.ndarray], skipped: dict[str, str]) -> bool:
        """Prepare a picture for this number of the batch; False where it cannot be read."""
        index = int(self.order[place])
        try:
            with hearing() as heard:
                image = self.loader._cut(picture(), index, self.epoch)
        except (OSError, ValueError) as error:
            reason = error.reason if isinstance(error, PictureError) else str(error)
            skipped[self.loader.dataset.where(index)] = reason
            return False
        if heard:
            self.loader.remarks[self.loader.dataset.where(index)] = heard
        self.images[number] = image if self.loader.as_bytes else self.loader.preparation.normalise(image)
        self.labels[number] = self.loader.dataset.labels[index]
        return True
