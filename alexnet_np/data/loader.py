"""Batches, prepared by a thread while the network works on the one before."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

import numpy as np

from .dataset import Dataset
from .preparation import Preparation

BATCHES_AHEAD = 2


class Loader:
    """The batches of a data set: images (N, size, size, 3) float32 and labels (N,) int64.

    With a ``seed``, for training: in an order of each epoch's own, the pictures cropped and mirrored at
    random; a picture of an epoch is the same whatever came before it. Without: for testing, in order.
    The last batch holds what is left. ``waited`` counts the seconds that batches kept their user waiting.
    """

    def __init__(self, dataset: Dataset, preparation: Preparation, batch_size: int, seed: int | None = None) -> None:
        self.dataset = dataset
        self.preparation = preparation
        self.batch_size = batch_size
        self.seed = seed
        self.waited = 0.0

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self.dataset) // self.batch_size)

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of an epoch, from the one with this number on."""
        order = self._order(epoch)
        ahead: deque[Future[tuple[np.ndarray, np.ndarray]]] = deque()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader") as pool:
            try:
                for number in range(first, len(self)):
                    indices = order[number * self.batch_size :][: self.batch_size]
                    ahead.append(pool.submit(self._batch, indices, epoch))
                    if len(ahead) > BATCHES_AHEAD:
                        yield self._next(ahead)
                while ahead:
                    yield self._next(ahead)
            finally:  # also when the user stops in the middle
                for batch in ahead:
                    batch.cancel()

    def _next(self, ahead: deque[Future[tuple[np.ndarray, np.ndarray]]]) -> tuple[np.ndarray, np.ndarray]:
        start = perf_counter()
        batch = ahead.popleft().result()
        self.waited += perf_counter() - start
        return batch

    def _order(self, epoch: int) -> np.ndarray:
        if self.seed is None:
            return np.arange(len(self.dataset))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.dataset))

    def _batch(self, indices: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        images = np.stack([self._image(int(index), epoch) for index in indices])
        return self.preparation.normalise(images), self.dataset.labels[indices]

    def _image(self, index: int, epoch: int) -> np.ndarray:
        image = self.dataset.image(index)
        if self.seed is None:
            return self.preparation.for_testing(image)
        return self.preparation.for_training(image, np.random.default_rng((self.seed, epoch, index)))
