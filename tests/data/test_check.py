"""What is wrong with a data set, found before training."""

import os
import re
import tarfile
from io import BytesIO

import numpy as np
import pytest
from pictures import write_class_folders, write_idx
from PIL import Image

from alexnet_np import data
from alexnet_np.data.check import check


@pytest.fixture
def folder(tmp_path):
    """A data set without a fault; all its pictures differ."""
    write_class_folders(tmp_path / "train", 3, seed=0)
    write_class_folders(tmp_path / "val", 2, seed=1)
    return tmp_path


def found(folder):
    """Kind, path within the folder, and text of all findings."""
    return {
        (finding.kind, finding.path.removeprefix(f"{folder}/"), finding.text.replace(f"{folder}/", ""))
        for finding in check(folder).findings
    }


def test_a_good_data_set_is_good(folder):
    report = check(folder)
    assert report.ok
    assert (report.pictures, report.classes) == ({"train": 9, "test": 6}, ["blue", "green", "red"])
    assert report.converted == {}


def test_what_cannot_be_read_is_named(folder):
    (folder / "train/red/0.png").write_bytes(b"")
    path = folder / "val/blue/1.png"
    path.write_bytes(path.read_bytes()[:200])
    (folder / "val/red/no.jpg").write_text("no picture")
    findings = found(folder)
    assert ("unreadable", "train/red/0.png", "the file is empty") in findings
    assert {(kind, path) for kind, path, _ in findings} == {
        ("unreadable", "train/red/0.png"),
        ("unreadable", "val/blue/1.png"),
        ("unreadable", "val/red/no.jpg"),
    }


def test_odd_sizes_are_named(folder):
    noise = np.random.default_rng(0).integers(0, 256, (40, 170, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "train/red/long.png")
    Image.fromarray(noise[:, :160]).save(folder / "train/red/just.png")
    Image.fromarray(noise[:31]).save(folder / "val/red/small.png")
    assert found(folder) == {
        ("size", "train/red/long.png", "170x40 pixels: more than 4 times as long as wide"),
        ("size", "val/red/small.png", "170x31 pixels: smaller than 32"),
    }


def test_a_picture_in_both_sets_or_in_two_classes_is_named(folder):
    (folder / "val/red/again.png").write_bytes((folder / "train/red/1.png").read_bytes())
    (folder / "train/green/again.png").write_bytes((folder / "train/red/2.png").read_bytes())
    (folder / "train/red/twice.png").write_bytes((folder / "train/red/0.png").read_bytes())  # no harm in that
    assert found(folder) == {
        ("duplicate", "val/red/again.png", "is in the test set, and the same as train/red/1.png in the training set"),
        ("label", "train/red/2.png", "is of class red, but the same as train/green/again.png of class green"),
    }


def test_a_duplicate_may_be_in_the_share_that_is_held_out(tmp_path):
    write_class_folders(tmp_path, 5)
    first = (tmp_path / "red/0.png").read_bytes()
    for path in (tmp_path / "red").iterdir():
        path.write_bytes(first)
    assert {kind for kind, *_ in found(tmp_path)} == {"duplicate"}


def test_classes_that_do_not_fit_are_named(folder):
    (folder / "train/empty").mkdir()
    (folder / "val/red").rename(folder / "val/scarlet")
    assert found(folder) == {
        ("class", "train/empty", "is a class without an image"),
        ("class", "train/red", "is a class that the validation set lacks"),
        ("class", "val/scarlet", "is a class that the training set lacks"),
    }


def test_a_folder_without_classes_is_named(tmp_path):
    assert {kind for kind, *_ in found(tmp_path)} == {"data"}


def test_conversions_are_counted_and_nothing_wrong(folder):
    image = Image.open(folder / "train/red/0.png")
    exif = Image.Exif()
    exif[0x0112] = 8
    image.convert("CMYK").save(folder / "train/red/a.jpg")
    image.save(folder / "train/red/b.jpg", exif=exif)
    image.convert("L").save(folder / "train/red/c.png")
    image.convert("RGBA").save(folder / "train/red/d.png")
    image.save(folder / "train/red/e.gif", save_all=True, append_images=[Image.open(folder / "train/red/1.png")])
    Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)).save(folder / "train/red/f.png")
    report = check(folder)
    assert report.ok
    kinds = ["CMYK", "turned by EXIF", "grey", "transparent", "animated", "16 bits"]
    assert report.converted == dict.fromkeys(kinds, 1)


def test_damage_that_does_no_harm_to_the_pixels_is_counted(folder):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    image.save(folder / "train/red/a.png", exif=b"Exif\0\0no TIFF header")
    tiff = folder / "train/red/b.tif"
    image.save(tiff)
    whole = bytearray(tiff.read_bytes())
    start = int.from_bytes(whole[4:8], "little")
    following = start + 2 + 12 * int.from_bytes(whole[start : start + 2], "little")
    whole[following : following + 4] = (len(whole) - 1).to_bytes(4, "little")  # a second frame, of one byte
    tiff.write_bytes(whole)
    report = check(folder)
    assert report.ok
    assert report.converted == {"damaged EXIF data": 1, "damaged after the first frame": 1}


def test_files_that_are_no_pictures_by_their_names_are_counted(folder):
    for name in (
        "train/red/a.heic",
        "val/red/b.HEIC",
        "train/red/within/notes",
        "train/blue/.hidden",
        "train/readme.md",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    report = check(folder)
    assert report.ok
    assert report.passed_over == {".heic": 2, "without a suffix": 1}


def test_arrays_are_checked_for_what_is_in_both_sets(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 5), dtype=np.uint8)
    write_idx(tmp_path, "train", images, np.arange(9, dtype=np.uint8) % 2)
    write_idx(tmp_path, "t10k", images[4:6, ::-1], np.array([0, 1], np.uint8))
    assert check(tmp_path).ok
    write_idx(tmp_path, "t10k", images[4:6], np.array([0, 1], np.uint8))
    first, second = check(tmp_path).findings
    assert (first.kind, first.path) == ("duplicate", f"{tmp_path / 't10k-labels-idx1-ubyte.gz'}, position 0")
    assert second.text.endswith("train-labels-idx1-ubyte.gz, position 5 in the training set")


class TestEveryForm:
    """The same is found in class folders, IDX files and shards.

    An image is drawn from its number: number 7 has one colour, 1001 is the same as 1. Parts are numbers with labels.
    """

    NAMES = ("cat", "dog", "owl")

    @staticmethod
    def picture(number):
        if number == 7:
            return np.full((36, 36, 3), 9, np.uint8)
        level = np.random.default_rng(number % 1000).integers(0, 256, (36, 36, 1), dtype=np.uint8)
        return level.repeat(3, axis=2)

    @pytest.fixture(params=["class folders", "IDX", "shards"])
    def write(self, request, tmp_path):
        def write(train, test):
            parts = {"train": train, "val": test}
            for part, numbered in parts.items():
                if request.param == "class folders":
                    for name in self.NAMES:
                        (tmp_path / part / name).mkdir(parents=True)
                    for number, label in numbered:
                        Image.fromarray(self.picture(number)).save(
                            tmp_path / part / self.NAMES[label] / f"{number}.png"
                        )
                elif request.param == "IDX":
                    images = np.stack([self.picture(number)[..., 0] for number, _ in numbered])
                    write_idx(tmp_path, part, images, np.array([label for _, label in numbered], np.uint8))
                else:
                    members = []
                    for number, label in numbered:
                        content = BytesIO()
                        Image.fromarray(self.picture(number)).save(content, "png")
                        members += [(f"{number}.png", content.getvalue()), (f"{number}.cls", str(label).encode())]
                    with tarfile.open(tmp_path / f"{part}-0.tar", "w") as tar:
                        for name, content in members:
                            info = tarfile.TarInfo(name)
                            info.size = len(content)
                            tar.addfile(info, BytesIO(content))
            if request.param != "class folders":
                (tmp_path / "classes.txt").write_text("\n".join(self.NAMES))
            return tmp_path

        return write

    GOOD = ([(1, 0), (2, 1), (3, 2)], [(4, 0), (5, 1), (6, 2)])

    def test_good_data_are_good(self, write):
        assert check(write(*self.GOOD)).findings == []

    @pytest.mark.parametrize(
        ("train", "test", "kind", "text"),
        [
            ([(1, 0), (2, 1), (3, 1)], [(4, 0), (5, 1)], "class", "is a class without an image"),
            ([(1, 1), (2, 2)], [(4, 1), (5, 2)], "class", "is a class without an image"),
            (GOOD[0], [(4, 0), (5, 1)], "class", "is a class that the validation set lacks"),
            ([(1, 0), (2, 1)], GOOD[1], "class", "is a class that the training set lacks"),
            ([*GOOD[0], (7, 0)], GOOD[1], "blank", "has one colour only, 9"),
            (GOOD[0], [*GOOD[1], (7, 0)], "blank", "has one colour only, 9"),
            (GOOD[0], [*GOOD[1], (1001, 0)], "duplicate", "is in the test set, and the same as .* in the training set"),
            ([*GOOD[0], (1001, 1)], GOOD[1], "label", "is of class (cat|dog), but the same as .* of class (cat|dog)"),
        ],
    )
    def test_what_is_wrong_is_found(self, write, train, test, kind, text):
        (finding,) = check(write(train, test)).findings
        assert (finding.kind, bool(re.search(text, finding.text))) == (kind, True), finding

    def test_training_warns_of_classes_too(self, write):
        warnings = data.load(write(self.GOOD[0], self.GOOD[1][:2])).warnings
        assert (len(warnings), "owl" in warnings[0]) == (1, True)


def test_labels_that_count_from_one_are_found(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 5), dtype=np.uint8)
    write_idx(tmp_path, "train", images[:6], np.array([1, 2, 3, 1, 2, 3], np.uint8))
    write_idx(tmp_path, "t10k", images[6:], np.array([1, 2, 3], np.uint8))
    (finding,) = check(tmp_path).findings
    assert finding.path == "train-images-idx3-ubyte.gz: '0'"
    assert finding.text == "is a class without an image (labels count from 0: do yours count from 1?)"


@pytest.mark.parametrize("content", ["cat\ndog\n\n", "cat\ndog\n  "])
def test_a_blank_last_name_leaves_a_label_without_a_class(tmp_path, content):
    images = np.random.default_rng(0).integers(0, 256, (9, 6, 5), dtype=np.uint8)
    write_idx(tmp_path, "train", images, np.arange(9, dtype=np.uint8) % 3)
    (tmp_path / "classes.txt").write_text(content)
    (finding,) = check(tmp_path).findings
    message = "train-labels-idx1-ubyte.gz, position 2: labels: expected 0 to 1, got 2 (2 classes, 3 such labels)"
    assert (finding.kind, finding.text) == ("data", f"{tmp_path}{os.sep}{message}")


def test_a_place_is_that_in_the_file_also_where_a_share_is_held_out(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 6, 5), dtype=np.uint8)
    images[3], images[17] = 9, 8
    write_idx(tmp_path, "train", images, np.arange(30, dtype=np.uint8) % 3)
    paths = {finding.path for finding in check(tmp_path).findings}
    assert paths == {f"{tmp_path / 'train-labels-idx1-ubyte.gz'}, position {place}" for place in (3, 17)}


def test_cifars_files_are_checked(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (6, 3072), dtype=np.uint8)
    images[3] = 77
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    for name, image in zip(names, images, strict=True):
        (tmp_path / name).write_bytes(b"\0" + image.tobytes())
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\n\n")
    empty, blank = check(tmp_path).findings
    assert str(empty) == "data_batch_1.bin to data_batch_5.bin: 'dog': is a class without an image"
    assert str(blank) == f"{tmp_path / 'data_batch_4.bin'}, position 0: has one colour only, 77"


def test_remarks_are_counted(folder):
    path = folder / "train/red/0.png"
    Image.open(path).save(folder / "train/red/a.tif")
    whole = bytearray((folder / "train/red/a.tif").read_bytes())
    start = int.from_bytes(whole[4:8], "little")
    count = int.from_bytes(whole[start : start + 2], "little")
    last = start + 2 + 12 * (count - 1)
    whole[last : last + 12] = bytes.fromhex("3101 0200 a0860100 08000000")  # a tag that holds more than the file
    (folder / "train/red/a.tif").write_bytes(whole)
    report = check(folder)
    assert report.ok
    assert list(report.remarks.values()) == [1]


def test_files_that_are_not_whole_are_named(tmp_path):
    write_idx(tmp_path, "train", np.zeros((4, 6, 5), np.uint8), np.arange(3, dtype=np.uint8))
    (finding,) = check(tmp_path).findings
    assert (finding.kind, "got 4 images and 3 labels" in finding.text) == ("data", True)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check(tmp_path / "nowhere")
