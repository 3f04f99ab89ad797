"""Batches: order, repeatability, prefetching."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from alexnet_np.data import Arrays, DataError, Dataset, Loader, PictureError, Preparation

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


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"ten_crop": True}])
def test_bytes_are_what_is_normalised_later(dataset, options):
    """In training and in the test."""
    for given, expected in zip(
        Loader(dataset, PREPARATION, 4, as_bytes=True, **options).batches(1),
        Loader(dataset, PREPARATION, 4, **options).batches(1),
        strict=True,
    ):
        assert given[0].dtype == np.uint8
        np.testing.assert_array_equal(PREPARATION.normalise(given[0]), expected[0])
        np.testing.assert_array_equal(given[1], expected[1])


@pytest.mark.parametrize(
    ("changes", "training", "testing"),
    [
        ({}, np.uint8, np.uint8),
        ({"crop": "resized"}, np.uint8, np.uint8),
        ({"saturation": 0.2}, np.float32, np.uint8),
        ({"colour_noise": 0.1}, np.float32, np.uint8),
        ({"mean_image": "mean.npy"}, np.float32, np.float32),
    ],
)
def test_what_cannot_be_bytes_is_normalised_at_once(dataset, changes, training, testing, tmp_path):
    if "mean_image" in changes:
        changes = {"mean_image": str(tmp_path / "mean.npy")}
        np.save(tmp_path / "mean.npy", np.full((6, 6, 3), 100.0))
    preparation = replace(PREPARATION, **changes)
    for seed, dtype in ((1, training), (None, testing)):
        batches = [Loader(dataset, preparation, 4, seed, as_bytes=as_bytes).batches() for as_bytes in (True, False)]
        for (images, _), (expected, _) in zip(*batches, strict=True):
            assert images.dtype == dtype
            if dtype == np.float32:
                np.testing.assert_array_equal(images, expected)


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


class Partly(Arrays):
    """Some of its pictures cannot be read."""

    broken = frozenset({3, 5})

    def image(self, index):
        if index in self.broken:
            raise PictureError(f"{index}.jpg", "is broken")
        return super().image(index)

    def where(self, index):
        return f"{index}.jpg"


@pytest.fixture
def partly(dataset):
    return Partly(dataset.images, dataset.labels, dataset.classes)


@pytest.mark.parametrize("workers", [1, 3])
def test_in_training_the_next_picture_takes_the_place_of_one_that_cannot_be_read(dataset, partly, workers):
    whole, loader = Loader(dataset, PREPARATION, 4, seed=1), Loader(partly, PREPARATION, 4, seed=1, workers=workers)
    expected, expected_labels = collect(whole.batches(2))
    images, labels = collect(loader.batches(2))
    for k in range(11):
        if expected_labels[k] not in partly.broken:
            assert labels[k] == expected_labels[k]
            np.testing.assert_array_equal(images[k], expected[k])
            continue
        following = [label for label in np.roll(expected_labels, -k) if label not in partly.broken]
        assert labels[k] == following[0]
        np.testing.assert_array_equal(images[k], expected[list(expected_labels).index(following[0])])
    assert loader.skipped == {"3.jpg": "is broken", "5.jpg": "is broken"}


def test_an_epoch_with_broken_pictures_is_taken_up_in_the_middle(partly):
    loader = Loader(partly, PREPARATION, 2, seed=3)
    images, labels = collect(loader.batches(epoch=1))
    for first in range(1, len(loader)):
        rest_images, rest_labels = collect(loader.batches(epoch=1, first=first))
        np.testing.assert_array_equal(rest_images, images[2 * first :])
        np.testing.assert_array_equal(rest_labels, labels[2 * first :])


def test_in_a_test_what_cannot_be_read_is_left_out(dataset, partly):
    partly.broken = {3, 4, 5, 6, 7, 9}  # with batches of 4 the second has nothing left
    loader = Loader(partly, PREPARATION, 4)
    batches = list(loader.batches())
    assert [labels.tolist() for _, labels in batches] == [[0, 1, 2], [8, 10]]
    np.testing.assert_array_equal(batches[1][0], collect(Loader(dataset, PREPARATION, 4).batches())[0][[8, 10]])
    assert list(loader.skipped) == [f"{i}.jpg" for i in (3, 4, 5, 6, 7, 9)]


def test_data_without_a_picture_that_can_be_read_are_refused(partly):
    partly.broken = set(range(11))
    with pytest.raises(DataError, match="none of the 11 pictures can be read"):
        next(Loader(partly, PREPARATION, 4, seed=0).batches())


def test_pictures_are_the_same_whatever_the_number_of_workers(dataset):
    preparation = Preparation.photographs(48).augmented("modern")
    one, *others = (collect(Loader(dataset, preparation, 9, seed=5, workers=n).batches(1)) for n in (1, 2, 7))
    for other in others:
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_ten_crops_are_views_of_each_picture(dataset):
    images, labels = collect(Loader(dataset, PREPARATION, 4, ten_crop=True).batches())
    assert images.shape == (11, 10, 5, 5, 3)
    np.testing.assert_array_equal(labels, np.arange(11))
    np.testing.assert_array_equal(images[7], PREPARATION.normalise(PREPARATION.ten_crops(dataset.image(7))))
    np.testing.assert_array_equal(images[:, 4], collect(Loader(dataset, PREPARATION, 4).batches())[0])


class Faulty(Dataset):
    def image(self, index):
        if index == 5:
            raise RuntimeError("a fault of the program's own")
        return np.zeros((7, 8, 3), np.uint8)


def test_an_error_of_the_program_reaches_the_user_and_ends_the_threads():
    batches = Loader(Faulty(["a"], np.zeros(11)), PREPARATION, 4).batches()
    next(batches)
    with pytest.raises(RuntimeError, match="a fault of the program's own"):
        next(batches)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_what_is_wrong_with_the_preparation_is_no_fault_of_the_pictures(dataset, tmp_path):
    loader = Loader(dataset, replace(PREPARATION, mean_image=str(tmp_path / "mean.npy")), 4, seed=0)
    with pytest.raises(FileNotFoundError, match="mean_image: there is no file"):
        next(loader.batches())


def test_stopping_in_the_middle_ends_the_thread(dataset):
    batches = Loader(dataset, PREPARATION, 1).batches()
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_waiting_is_counted():
    class Slow(Dataset):
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
