"""What is wrong with a data set, found before training."""

import numpy as np
import pytest
from pictures import write_class_folders, write_idx
from PIL import Image

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


@pytest.mark.filterwarnings("ignore")  # Pillow's remarks about the damage
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


def test_files_that_are_not_whole_are_named(tmp_path):
    write_idx(tmp_path, "train", np.zeros((4, 6, 5), np.uint8), np.arange(3, dtype=np.uint8))
    (finding,) = check(tmp_path).findings
    assert (finding.kind, "got 4 images and 3 labels" in finding.text) == ("data", True)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check(tmp_path / "nowhere")
