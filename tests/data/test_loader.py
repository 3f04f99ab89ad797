"""Batches: order, repeatability, prefetching."""

import threading

import numpy as np
import pytest

from alexnet_np.data import Arrays, DataError, Dataset, Loader, Preparation

PREPARATION = Preparation(size=5, resize=6, mirror=True, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    return Arrays(rng.integers(0, 256, (11, 7, 8, 3), dtype=np.uint8), np.arange(11), [str(i) for i in range(11)])


def collect(batches):
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_testing_goes_through_the_pictures_in_order(dataset):
    loader = Loader(dataset, PREPARATION, 4)
    batches = list(loader.batches())
    assert len(batches) == len(loader) == 3
    assert [len(labels) for _, labels in batches] == [4, 4, 3]
    images, labels = collect(batches)
    np.testing.assert_array_equal(labels, np.arange(11))
    expected = PREPARATION.normalise(np.stack([PREPARATION.for_testing(dataset.image(i)) for i in range(11)]))
    np.testing.assert_array_equal(images, expected)
    assert (images.dtype, images.flags["C_CONTIGUOUS"]) == (np.float32, True)


def test_training_sees_every_picture_once_an_epoch_in_another_order(dataset):
    loader = Loader(dataset, PREPARATION, 4, seed=1)
    orders = [collect(loader.batches(epoch))[1].tolist() for epoch in range(3)]
    assert all(sorted(order) == list(range(11)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_a_picture_is_cropped_anew_in_every_epoch(dataset):
    loader = Loader(dataset, PREPARATION, 4, seed=1)
    crops = []
    for epoch in range(2):
        images, labels = collect(loader.batches(epoch))
        crops.append(images[np.argsort(labels)])
    assert not np.array_equal(*crops)


def test_a_seed_fixes_order_and_crops(dataset):
    first, again, other = (collect(Loader(dataset, PREPARATION, 4, seed).batches(2)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[1], other[1])


def test_an_epoch_taken_up_in_the_middle_is_the_rest_of_it(dataset):
    loader = Loader(dataset, PREPARATION, 2, seed=3)
    images, labels = collect(loader.batches(epoch=1))
    rest_images, rest_labels = collect(loader.batches(epoch=1, first=4))
    np.testing.assert_array_equal(rest_images, images[8:])
    np.testing.assert_array_equal(rest_labels, labels[8:])
    assert list(loader.batches(epoch=1, first=len(loader))) == []


class Broken(Dataset):
    def image(self, index):
        if index == 5:
            raise DataError("picture 5 is broken")
        return np.zeros((7, 8, 3), np.uint8)


def test_an_error_in_the_thread_reaches_the_user_and_ends_it():
    batches = Loader(Broken(["a"], np.zeros(11)), PREPARATION, 4).batches()
    next(batches)
    with pytest.raises(DataError, match="picture 5 is broken"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_stopping_in_the_middle_ends_the_thread(dataset):
    batches = Loader(dataset, PREPARATION, 1).batches()
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_waiting_is_counted():
    class Slow(Broken):
        def image(self, index):
            ready.wait(5)
            return np.zeros((7, 8, 3), np.uint8)

    ready = threading.Event()
    loader = Loader(Slow(["a"], np.zeros(2)), PREPARATION, 2)
    timer = threading.Timer(0.05, ready.set)
    timer.start()
    list(loader.batches())
    timer.join()
    assert 0.02 < loader.waited < 5
