"""Data are told from others, without a look into their files, and are the same wherever they lie."""

import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
from pictures import write_class_folders

from alexnet_np import data
from alexnet_np.data.digests import Digests
from alexnet_np.data.mean_image import MeanImage

PREPARATION = data.Preparation.photographs(64)


def changed(before, after):
    return {name for name in before.texts if before.texts[name] != after.texts[name]}


def of(folder, preparation=PREPARATION):
    loaded = data.load(folder)
    return Digests.of(loaded.train, loaded.test, preparation)


def of_arrays(images, labels, names=("a", "b")):
    return Digests.of(*[data.Arrays(images, labels, names)] * 2, PREPARATION)


@pytest.fixture
def folder(tmp_path):
    write_class_folders(tmp_path / "data" / "train", 3)
    write_class_folders(tmp_path / "data" / "val", 2)
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("train/red/1.png", "train/red/1b.png"),
        ("train/red/1.png", "train/blue/3.png"),  # as many images, one of another class
        ("train/red/1.png", "removed.png"),
    ],
)
def test_files_are_told_apart_by_their_names_and_classes(folder, old, new):
    before = of(folder)
    assert changed(before, of(folder)) == set()
    (folder / old).rename(folder / new)
    assert changed(before, of(folder)) == {"training images"}
    (folder / "val/red/0.png").rename(folder / "val/red/2.png")
    assert changed(before, of(folder)) == {"training images", "test images"}


def test_files_are_told_apart_by_their_sizes(folder):
    before = of(folder)
    with (folder / "val/red/0.png").open("ab") as file:
        file.write(b" ")
    assert changed(before, of(folder)) == {"test images"}


@pytest.mark.parametrize("split", [True, False])
def test_the_same_files_in_another_place_are_the_same(folder, tmp_path, monkeypatch, split):
    source = folder if split else folder / "train"
    before = of(source)
    shutil.copytree(source, tmp_path / "else" / "where")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "else" / "where", "else/where", "./else/../else/where"):
        assert of(place).texts == before.texts
    if sys.platform != "win32":  # which lets not everybody make links
        os.symlink(source, "link")
        assert of("link").texts == before.texts


def test_shards_in_another_place_are_the_same(folder, tmp_path):
    def pack(where, first="0"):
        import io
        import tarfile

        where.mkdir()
        with tarfile.open(where / "train-0.tar", "w") as tar:
            for number, path in enumerate(sorted((folder / "train").glob("*/*.png"))):
                name = f"{first if number == 0 else number}.png"
                for suffix, content in ((name, path.read_bytes()), (f"{name[:-4]}.cls", b"01"[number % 2 :][:1])):
                    member = tarfile.TarInfo(suffix)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        return where

    before = of(pack(tmp_path / "one"))
    assert of(pack(tmp_path / "two")).texts == before.texts
    assert changed(before, of(pack(tmp_path / "three", "another"))) != set()


def test_an_order_of_labels_that_gives_the_same_bytes_of_names_is_another(folder):
    loaded = data.load(folder).train
    other = data.Files(loaded.paths, loaded.labels[::-1], loaded.classes)
    renamed = data.Files(loaded.paths, loaded.labels, ["blue", "red", "green"])
    sets = [Digests.of(train, loaded, PREPARATION).texts["training images"] for train in (loaded, other, renamed)]
    assert len(set(sets)) == 3


def test_arrays_are_told_apart_by_their_pixels():
    images, labels = np.random.default_rng(0).integers(0, 256, (6, 5, 7), np.uint8), np.arange(6) % 2
    before = of_arrays(images, labels)
    images = images.copy()
    images[3, 4, 6] ^= 1
    after = of_arrays(images, labels)
    assert changed(before, after) == {"training images", "test images"}
    assert changed(of_arrays(images[:, :, ::-1], labels), after) == {"training images", "test images"}  # a view
    difference = after.difference(before.texts, before.images)
    assert difference == (
        "other training images (the first that differs is image 3) and "
        "other test images (the first that differs is image 3)"
    )


def test_a_difference_names_the_first_image_or_the_numbers(folder):
    before = of(folder)
    assert of(folder).difference(before.texts, before.images) is None
    (folder / "val/red/1.png").unlink()
    assert of(folder).difference(before.texts, before.images) == "other test images (6 then, 5 now)"
    (folder / "train/green/1.png").unlink()
    here = str(folder / "train/green/2.png")
    now = of(folder)
    assert f"other training images (the first that differs is {here}) and" in now.difference(
        before.texts, before.images
    )
    assert now.difference(before.texts, {}) == "other training images and other test images"
    assert now.difference({}, {}) == "other training images and other test images and other preparation"


@pytest.mark.parametrize("numbers", [np.zeros(()), np.zeros((3, 2), np.uint64), np.zeros((100, 1)), np.zeros(2, bool)])
def test_a_damaged_checkpoint_names_no_image(folder, numbers):
    own = of(folder)
    text = own.difference({}, dict.fromkeys(own.images, numbers))
    assert text.startswith("other training images")


def test_a_preparation_is_told_apart_by_its_settings_and_by_its_mean_image_wherever_it_lies(folder):
    def with_mean(name, value):
        np.save(folder / name, np.full((73, 73, 3), value, np.float32))
        return of(folder, replace(PREPARATION, mean_image=str(folder / name)))

    before = with_mean("mean.npy", 100)
    assert changed(before, with_mean("copy.npy", 100)) == set()
    assert changed(before, with_mean("other.npy", 101)) == {"preparation"}
    carried = replace(PREPARATION, mean_image=MeanImage.of(np.full((73, 73, 3), 100, np.float32)))
    assert changed(before, of(folder, carried)) == set()
    assert changed(before, of(folder, PREPARATION)) == {"preparation"}
    assert changed(before, of(folder, replace(carried, hue=0.1))) == {"preparation"}
