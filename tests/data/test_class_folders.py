"""Which folders are parts, which are classes, and what is said of images that are ignored."""

import os
import re
import sys

import pytest
from pictures import write_noise

from alexnet_np import data
from alexnet_np.data import class_folders
from alexnet_np.data.check import check

CLASSES = ("cat", "dog")


def write(folder, *parts, number=4):
    """``number`` images of each class in each of these folders; "." is the folder itself."""
    for part in parts:
        names = (f"{name}/of{part.replace('/', '-')}{k}.png" for name in CLASSES for k in range(number))
        write_noise(folder / part, *names)
    return folder


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "val"),
        ("Training", "Testing"),
        ("train", "valid"),
        ("Train", "Val"),
        ("seg_train", "seg_test"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("birds_train", "birds_val"),
    ],
)
def test_usual_names_of_parts_are_understood(tmp_path, train, test):
    write(tmp_path, train, test)
    loaded = data.load(tmp_path)
    assert loaded.train.classes == list(CLASSES)
    for dataset, part in ((loaded.train, train), (loaded.test, test), (data.load_test(tmp_path), test)):
        assert len(dataset) == 8
        assert all(path.is_relative_to(tmp_path / part) for path in dataset.paths)
    assert (loaded.kept_aside, loaded.notes, loaded.warnings) == (None, [], [])
    assert loaded.judged_by.startswith(f"{test}/, the ")
    assert check(tmp_path).ok


@pytest.mark.parametrize("validation", ["val", "validation", "valid"])
def test_of_three_parts_the_validation_part_judges_and_the_test_part_is_kept_aside(tmp_path, validation):
    write(tmp_path, "train", validation, "test")
    loaded = data.load(tmp_path)
    assert {path.parts[-3] for path in loaded.test.paths} == {validation}
    assert loaded.judged_by == f"{validation}/, the validation set"
    assert {path.parts[-3] for path in loaded.kept_aside.paths} == {"test"}
    assert loaded.notes == ["test/, the test set, is kept aside: alexnet-np evaluate tests on it"]
    tested = data.sources.open_test(tmp_path)
    assert ({path.parts[-3] for path in tested.dataset.paths}, tested.part) == ({"test"}, "test/, the test set")
    (tmp_path / "test/cat/again.png").write_bytes((tmp_path / "train/cat/oftrain0.png").read_bytes())
    report = check(tmp_path)
    assert report.pictures == {"train": 8, "validation": 8, "test": 9}
    assert [finding.kind for finding in report.findings] == ["duplicate"]


def test_what_is_tested_is_the_test_part_else_the_validation_part_else_what_was_held_out_or_all(tmp_path):
    write(tmp_path, "train")
    assert (len(data.load_test(tmp_path)), data.sources.open_test(tmp_path).part) == (2, data.sources.HELD_OUT)
    write(tmp_path, "valid")
    assert data.sources.open_test(tmp_path).part == "valid/, the validation set"
    assert (len(data.load_test(tmp_path / "train")), len(data.load(tmp_path / "train").test)) == (8, 2)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("test/0.png", "is ignored, because it holds images, but no class folders"),
        ("test/unknown/0.png", "is ignored, because it holds no class of the training set, but unknown/"),
    ],
)
def test_a_test_part_without_labels_is_not_looked_at_and_that_is_said(tmp_path, name, text):
    write(tmp_path, "train", "val")
    write_noise(tmp_path, name)
    loaded = data.load(tmp_path)
    assert loaded.kept_aside is None
    assert loaded.warnings == [f"{tmp_path / 'test'}: {text}"]
    assert {path.parts[-3] for path in data.load_test(tmp_path).paths} == {"val"}


@pytest.mark.parametrize(
    ("names", "path", "text"),
    [
        (["val/ILSVRC2012_0.png", "val/ILSVRC2012_1.png"], "val", "holds images, but no class folders"),
        (["unlabelled/0.png", "unlabelled/1.png"], "unlabelled", "stands beside the parts of the data"),
        (["more/cat/0.png"], "more", r"stands beside the parts of the data \(1 images\)"),
        (["0.png"], ".", r"1 images beside the folders are ignored \(0.png"),
        (["train/0.png"], "train", r"1 images beside the folders are ignored"),
    ],
)
def test_images_that_are_ignored_are_a_finding_and_a_warning(tmp_path, names, path, text):
    write(tmp_path, "train")
    assert check(tmp_path).ok
    write_noise(tmp_path, *names)
    (finding,) = check(tmp_path).findings
    assert (finding.kind, finding.path) == ("ignored", str(tmp_path / path))
    assert re.search(text, finding.text)
    assert data.load(tmp_path).warnings == [str(finding)]


def test_images_beside_classes_without_parts_are_a_finding(tmp_path):
    write(tmp_path, ".")
    write_noise(tmp_path, "0.png")
    assert [(finding.kind, finding.path) for finding in check(tmp_path).findings] == [("ignored", str(tmp_path))]


def test_folders_without_images_beside_the_parts_are_nobodys_business(tmp_path):
    write(tmp_path, "train", "val")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/labels.csv").write_text("")
    assert check(tmp_path).ok


def test_a_class_may_be_called_train_and_that_is_said(tmp_path):
    write_noise(tmp_path, *(f"{name}/{k}.png" for name in ("cat", "train") for k in range(3)))
    loaded = data.load(tmp_path)
    assert loaded.train.classes == ["cat", "train"]
    assert "train/ holds images and no folders, so it is taken for a class" in loaded.notes[0]
    assert check(tmp_path).notes == loaded.notes


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/cat.0.png", "test1/dog.0.png"], "test1/, train/ have names of parts of a data set, but hold images"),
        (["train/cat.0.png"], "train/ have names of parts of a data set, but hold images and no class folders"),
        (["train/0.png", "val/0.png", "cat/0.png"], "train/, val/ have names of parts"),
        (
            ["train/cat/0.png", "val/cat/0.png", "valid/cat/1.png"],
            "one folder for the validation part, got val/ and valid/",
        ),
        (["train/cat/0.png", "Training/cat/1.png"], "one folder for the training part, got Training/ and train/"),
        (
            ["train/cat/0.png", "val/cat/0.png", "valid/0.png"],
            "one folder for the validation part, got val/ and valid/",
        ),
        (
            ["train/a/0.png", "train/0.png", "cat/0.png"],
            "train/ holds both images and folders, beside cat/ with images",
        ),
        (["val/cat/0.png", "cat/0.png"], "expected a folder train/ beside val/, found none"),
        (["train_val/cat/0.png", "test/cat/0.png"], "'train_val': the name says two parts"),
        (["0.png", "1.png"], "expected a folder for each class, .*; found 2 images without class folders"),
    ],
)
def test_what_can_be_taken_for_two_things_is_refused(tmp_path, names, message):
    write_noise(tmp_path, *names)
    with pytest.raises(data.DataError, match=message):
        data.load(tmp_path)
    (finding,) = check(tmp_path).findings
    assert (finding.kind, finding.stops) == ("data", True)


def test_the_digits_are_scikit_learns_also_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "digits")
    assert (len(data.load("digits").train), "./digits" in data.load("digits").notes[0]) == (1438, True)
    assert data.load("./digits").train.classes == list(CLASSES)
    (tmp_path / "digits").rename(tmp_path / "others")
    assert data.load("digits").notes == []


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are text")
def test_a_class_whose_name_is_not_utf8_is_refused(tmp_path):
    write_noise(tmp_path, "cat/0.png", "cat/1.png", os.fsdecode(b"caf\xe9/0.png"), os.fsdecode(b"caf\xe9/1.png"))
    with pytest.raises(data.DataError, match="expected a name in UTF-8"):
        data.load(tmp_path)


def test_names_that_differ_only_in_what_file_systems_overlook_are_a_finding(tmp_path):
    write_noise(tmp_path, *(f"{name}/{k}.png" for name in ("Cat", "cat", "dog") for k in range(2)))
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system overlooks capitals")
    assert [(finding.kind, finding.path) for finding in check(tmp_path).findings] == [("class", str(tmp_path / "cat"))]


needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")


@needs_links
class TestLinks:
    def test_a_cycle_is_entered_once_and_said(self, tmp_path):
        write(tmp_path, ".")
        (tmp_path / "cat/self").symlink_to(".")
        (tmp_path / "cat/other").symlink_to("../dog")
        (tmp_path / "dog/other").symlink_to("../cat")
        loaded = data.load(tmp_path)
        assert len(loaded.train) + len(loaded.test) == 8
        assert sorted(warning.split(": ")[0] for warning in loaded.warnings) == [
            str(tmp_path / name) for name in ("cat/other", "cat/self", "dog/other")
        ]
        assert {finding.kind for finding in check(tmp_path).findings} == {"ignored"}

    def test_a_linked_class_folder_is_a_class(self, tmp_path):
        write(tmp_path, "elsewhere")
        (tmp_path / "set").mkdir()
        for name in CLASSES:
            (tmp_path / "set" / name).symlink_to(tmp_path / "elsewhere" / name)
        loaded = data.load(tmp_path / "set")
        assert (loaded.train.classes, len(loaded.train) + len(loaded.test), loaded.warnings) == (list(CLASSES), 8, [])

    def test_a_class_folder_that_is_there_twice_is_one_class(self, tmp_path):
        write(tmp_path, ".")
        (tmp_path / "a-cat").symlink_to("cat")
        (tmp_path / "whole").symlink_to(".")
        loaded = data.load(tmp_path)
        assert (loaded.train.classes, len(loaded.warnings)) == (list(CLASSES), 2)

    def test_parts_that_are_the_same_folder_are_a_finding(self, tmp_path):
        write(tmp_path, "train")
        (tmp_path / "val").symlink_to("train")
        assert "val: is the same folder as" in data.load(tmp_path).warnings[0]

    def test_a_broken_link_is_an_image_that_cannot_be_read(self, tmp_path):
        write(tmp_path, ".")
        (tmp_path / "cat/gone.png").symlink_to("nowhere.png")
        assert [finding.kind for finding in check(tmp_path).findings] == ["unreadable"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names there")
    def test_pipes_are_not_opened_and_are_said(self, tmp_path):
        write(tmp_path, ".")
        os.mkfifo(tmp_path / "cat/pipe.png")
        loaded = data.load(tmp_path)
        assert len(loaded.train) + len(loaded.test) == 8
        assert loaded.warnings == [f"{tmp_path / 'cat/pipe.png'}: is no file but a pipe, a socket or a device"]


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    """Permissions do not bind root, under which tests may run: scandir is made to fail."""
    write(tmp_path, ".")
    (tmp_path / "cat/within").mkdir()

    def scandir(path, scandir=os.scandir):
        if os.path.basename(path) == "within":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(data.DataError, match=r"cat.within: the folder cannot be read \(Permission denied\)"):
        data.load(tmp_path)
    (finding,) = check(tmp_path).findings
    assert finding.kind == "data"
    assert class_folders.layout(tmp_path).parts == {}


class TestPartsUnderOtherNames:
    def test_folders_that_hold_folders_of_the_same_names_may_be_parts(self, tmp_path):
        write(tmp_path, "Trainingsdaten", "Testdaten")
        told = (
            "the classes are Testdaten/, Trainingsdaten/, and all hold cat/, dog/. If they are parts of the data, call"
        )
        assert [told in warning for warning in data.load(tmp_path).warnings] == [True]
        assert [finding.kind for finding in check(tmp_path).findings] == ["class"]

    @pytest.mark.parametrize("more", ["Testdaten/owl/0.png", "Testdaten/0.png", "birds/0.png"])
    def test_other_names_inside_are_no_doubt(self, tmp_path, more):
        write_noise(tmp_path, *(f"{name}/cat/{k}.png" for name in ("Trainingsdaten", "Testdaten") for k in range(4)))
        write_noise(tmp_path, more, more.replace("0.png", "1.png"))
        assert data.load(tmp_path).warnings == []

    @pytest.mark.parametrize("outer", [("cat", "dog"), ("fold1", "fold2")])
    def test_parts_within_each_class_are_refused(self, tmp_path, outer):
        """Their test images would be trained on."""
        write_noise(
            tmp_path, *(f"{name}/{part}/a/{k}.png" for name in outer for part in ("train", "val") for k in "01")
        )
        with pytest.raises(data.DataError, match=f"{outer[0]}/, {outer[1]}/ each hold parts of the data: train/, val/"):
            data.load(tmp_path)

    def test_a_data_set_in_a_folder_of_its_own_is_named(self, tmp_path):
        write(tmp_path / "archive/set", "train", "val")
        for outer, inner in ((".", "archive"), ("archive", "archive/set")):
            told = (
                f"expected at least 2 classes.*If the data set is inside, name it: {re.escape(str(tmp_path / inner))}$"
            )
            with pytest.raises(data.DataError, match=told):
                data.load(tmp_path / outer)
        assert len(data.load(tmp_path / "archive/set").train) == 8


def test_files_that_are_no_images_are_named_where_there_are_no_images(tmp_path):
    for name in ("a.tar.gz", "b.tar.gz"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(data.DataError, match=r"found none, but files: 2 \.gz$"):
        data.load(tmp_path)
    with pytest.raises(data.DataError, match=r"a\.tar\.gz: expected a folder, or tar shards, got a file$"):
        data.load(tmp_path / "a.tar.gz")
