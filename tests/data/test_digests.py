"""Data are told from others, without a look into their files."""

from dataclasses import replace

import numpy as np
import pytest
from pictures import write_class_folders

from alexnet_np import data
from alexnet_np.data.digests import digests

PREPARATION = data.Preparation.photographs(64)


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def of(folder):
    loaded = data.load(folder)
    return digests(loaded.train, loaded.test, PREPARATION)


@pytest.fixture
def folder(tmp_path):
    write_class_folders(tmp_path / "train", 3)
    write_class_folders(tmp_path / "val", 2)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train/red/1.png", "train/red/1b.png"),
        ("train/red/1.png", "train/blue/3.png"),  # as many pictures, one of another class
        ("train/red/1.png", "removed.png"),
    ],
)
def test_files_are_told_apart_by_their_names_and_classes(folder, old, new):
    before = of(folder)
    assert of(folder) == before
    (folder / old).rename(folder / new)
    assert changed(before, of(folder)) == {"training pictures"}
    (folder / "val/red/0.png").rename(folder / "val/red/2.png")
    assert changed(before, of(folder)) == {"training pictures", "test pictures"}


def test_an_order_of_labels_that_gives_the_same_bytes_of_names_is_another(folder):
    loaded = data.load(folder).train
    other = data.Files(loaded.paths, loaded.labels[::-1], loaded.classes)
    renamed = data.Files(loaded.paths, loaded.labels, ["blue", "red", "green"])
    sets = [digests(train, loaded, PREPARATION)["training pictures"] for train in (loaded, other, renamed)]
    assert len(set(sets)) == 3


def test_arrays_are_told_apart_by_their_pixels():
    images, labels = np.random.default_rng(0).integers(0, 256, (6, 5, 7), np.uint8), np.arange(6) % 2
    before = digests(*[data.Arrays(images, labels, ["a", "b"])] * 2, PREPARATION)
    images = images.copy()
    images[3, 4, 6] ^= 1
    after = digests(*[data.Arrays(images, labels, ["a", "b"])] * 2, PREPARATION)
    assert changed(before, after) == {"training pictures", "test pictures"}
    assert digests(*[data.Arrays(images[:, :, ::-1], labels, ["a", "b"])] * 2, PREPARATION) != after  # a view


def test_a_preparation_is_told_apart_by_its_settings_and_its_mean_image(folder):
    loaded = data.load(folder)

    def with_mean(value):
        np.save(folder / "mean.npy", np.full((73, 73, 3), value, np.float32))
        return digests(loaded.train, loaded.test, replace(PREPARATION, mean_image=str(folder / "mean.npy")))

    before = with_mean(100)
    assert with_mean(100) == before
    assert changed(before, with_mean(101)) == {"preparation"}
    assert changed(before, digests(loaded.train, loaded.test, replace(PREPARATION, hue=0.1))) == {"preparation"}
