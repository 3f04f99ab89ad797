"""Where data come from, and what is refused."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import COLOURS, write_class_folders, write_idx

from alexnet_np import data
from alexnet_np.data.dataset import split

SHARED = Path(__file__).parents[3] / "shared" / "data"  # real data beside the checkout, where there are any


def test_the_digits_are_split_into_four_fifths_and_one():
    digits = data.load()
    assert (len(digits.train), len(digits.test)) == (1438, 359)
    assert digits.train.classes == [str(digit) for digit in range(10)]
    assert not digits.photographs
    assert digits.train.image(0).shape == (8, 8, 3)
    assert digits.train.images.max() == 255


def test_a_split_holds_out_a_share_of_each_class_and_loses_nothing():
    labels = np.repeat([0, 1, 2], [10, 20, 5])
    images = np.arange(35, dtype=np.uint8)[:, None, None].repeat(3, 1).repeat(3, 2)
    train, test = split(data.Arrays(images, labels, ["a", "b", "c"]), 0.2)
    assert np.bincount(test.labels).tolist() == [2, 4, 1]
    seen = [int(part.image(i)[0, 0, 0]) for part in (train, test) for i in range(len(part))]
    assert sorted(seen) == list(range(35))
    assert all(labels[part.image(i)[0, 0, 0]] == part.labels[i] for part in (train, test) for i in range(len(part)))


def test_a_class_of_one_picture_cannot_be_split():
    with pytest.raises(data.DataError, match="class b: expected at least 2 images"):
        split(data.Arrays(np.zeros((3, 4, 4), np.uint8), [0, 0, 1], ["a", "b"]))


class TestClassFolders:
    def test_one_tree_is_split(self, tmp_path):
        loaded = data.load(write_class_folders(tmp_path / "colours", 5))
        assert (loaded.name, loaded.photographs) == ("colours", True)
        assert loaded.train.classes == list(COLOURS)
        assert np.bincount(loaded.train.labels).tolist() == [4, 4, 4]
        assert np.bincount(loaded.test.labels).tolist() == [1, 1, 1]

    @pytest.mark.parametrize("test_folder", ["val", "test"])
    def test_two_trees_are_taken_as_they_are(self, tmp_path, test_folder):
        write_class_folders(tmp_path / "train", 3)
        write_class_folders(tmp_path / test_folder, 1)
        loaded = data.load(tmp_path)
        assert (len(loaded.train), len(loaded.test)) == (9, 3)
        assert loaded.test.paths[0].is_relative_to(tmp_path / test_folder)
        assert len(data.load_test(tmp_path)) == 3

    def test_train_alone_is_split(self, tmp_path):
        write_class_folders(tmp_path / "train", 5)
        assert (len(data.load(tmp_path).train), len(data.load(tmp_path).test)) == (12, 3)

    def test_a_class_may_be_called_train(self, tmp_path):
        write_class_folders(tmp_path, 2)
        (tmp_path / "red").rename(tmp_path / "train")
        (tmp_path / "train" / ".ipynb_checkpoints").mkdir()
        assert data.load(tmp_path).train.classes == ["blue", "green", "train"]

    def test_labels_are_of_the_folder(self, tmp_path):
        loaded = data.load(write_class_folders(tmp_path, 2))
        for part in (loaded.train, loaded.test):
            for i, label in enumerate(part.labels):
                assert (
                    part.image(i).mean(axis=(0, 1)).argmax() == {"blue": 2, "green": 1, "red": 0}[part.classes[label]]
                )

    def test_other_files_and_hidden_folders_are_passed_over(self, tmp_path):
        write_class_folders(tmp_path, 2)
        (tmp_path / "red" / "notes.txt").write_text("no image")
        (tmp_path / "red" / "._0.png").write_text("what a Mac leaves beside 0.png")
        (tmp_path / ".cache").mkdir()
        for copies in ("red/.ipynb_checkpoints", "red/.trash/within"):
            (tmp_path / copies).mkdir(parents=True)
            shutil.copy(tmp_path / "red" / "0.png", tmp_path / copies / "0-checkpoint.png")
            (tmp_path / copies / "notes.md").write_text("no image")
        loaded = data.load(tmp_path)
        assert (len(loaded.train), loaded.passed_over) == (3, {".txt": 1})

    def test_what_is_passed_over_in_both_parts_is_counted(self, tmp_path):
        for part in ("train", "val"):
            write_class_folders(tmp_path / part, 1)
            (tmp_path / part / "red" / "a.HEIC").write_text("")
        (tmp_path / "val" / "red" / "notes").write_text("")
        assert data.load(tmp_path).passed_over == {".heic": 2, "without a suffix": 1}

    def test_pictures_lie_at_any_depth_as_in_torchvisions_image_folder(self, tmp_path):
        write_class_folders(tmp_path / "train", 2)
        (tmp_path / "train" / "red" / "a" / "b").mkdir(parents=True)
        (tmp_path / "train" / "red" / "1.png").rename(tmp_path / "train" / "red" / "a" / "b" / "x.png")
        write_class_folders(tmp_path / "val", 1)
        (tmp_path / "train" / "red" / "linked").symlink_to(tmp_path / "val" / "red")
        assert np.bincount(data.load(tmp_path).train.labels).tolist() == [2, 2, 3]

    def test_all_of_a_folder_is_for_testing_where_it_has_no_parts(self, tmp_path):
        folder = write_class_folders(tmp_path, 5)
        assert len(data.load_test(folder)) == 15

    def test_for_testing_labels_are_positions_in_the_classes_that_the_network_knows(self, tmp_path):
        folder = write_class_folders(tmp_path, 1)
        known = ["amber", "blue", "green", "ochre", "red"]
        assert data.load_test(folder, known).labels.tolist() == [1, 2, 4]
        with pytest.raises(data.DataError, match="unknown classes 'red'"):
            data.load_test(folder, ["blue", "green"])

    def test_folders_without_data_are_refused_in_a_sentence(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="data: there is no folder"):
            data.load(tmp_path / "nowhere")
        with pytest.raises(data.DataError, match="expected a folder for each class"):
            data.load(tmp_path)
        (tmp_path / "only").mkdir()
        with pytest.raises(data.DataError, match="only: is a class without an image"):
            data.load(tmp_path)
        write_class_folders(tmp_path / "all", 2)
        for name in ("blue", "green"):
            shutil.rmtree(tmp_path / "all" / name)
        with pytest.raises(data.DataError, match=r"expected at least 2 classes, got 1 \(red\)"):
            data.load(tmp_path / "all")

    def test_a_class_that_only_the_test_has_is_refused(self, tmp_path):
        write_class_folders(tmp_path / "train", 2)
        write_class_folders(tmp_path / "val", 2)
        (tmp_path / "val" / "red").rename(tmp_path / "val" / "scarlet")
        with pytest.raises(data.DataError, match=r"val.scarlet: is a class that the training set lacks"):
            data.load(tmp_path)


class TestIdx:
    @pytest.fixture
    def arrays(self):
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (30, 9, 11), dtype=np.uint8), np.arange(30, dtype=np.uint8) % 3

    @pytest.mark.parametrize("compressed", [True, False])
    def test_both_parts_are_read(self, tmp_path, arrays, compressed):
        images, labels = arrays
        write_idx(tmp_path, "train", images, labels, compressed)
        write_idx(tmp_path, "t10k", images[:6], labels[:6], compressed)
        loaded = data.load(tmp_path)
        assert (len(loaded.train), len(loaded.test), loaded.photographs) == (30, 6, False)
        assert loaded.train.classes == loaded.test.classes == ["0", "1", "2"]
        np.testing.assert_array_equal(loaded.train.image(7)[..., 2], images[7])
        assert len(data.load_test(tmp_path)) == 6

    def test_a_test_part_that_is_missing_is_held_out(self, tmp_path, arrays):
        write_idx(tmp_path, "train", *arrays)
        loaded = data.load(tmp_path)
        assert (len(loaded.train), len(loaded.test)) == (24, 6)

    def test_the_start_of_a_name_says_the_part(self, tmp_path, arrays):
        images, labels = arrays
        for part, number in (
            ("emnist-letters-train", 30),
            ("emnist-letters-validation", 9),
            ("emnist-letters-test", 6),
        ):
            write_idx(tmp_path, part, images[:number], labels[:number])
        loaded = data.load(tmp_path)
        assert (len(loaded.train), len(loaded.test), len(loaded.kept_aside)) == (30, 9, 6)
        assert loaded.judged_by == "emnist-letters-validation-images-idx3-ubyte.gz, the validation set"
        assert len(data.load_test(tmp_path)) == 6

    def test_a_compressed_file_beside_its_contents_is_no_second_one(self, tmp_path, arrays):
        write_idx(tmp_path, "train", *arrays)
        write_idx(tmp_path, "train", *arrays, compressed=False)
        (tmp_path / "t10k-images-idx3-ubyte").mkdir()  # as an archive leaves it
        assert len(data.load(tmp_path).train) == 24

    def test_what_can_be_taken_for_two_things_is_refused(self, tmp_path, arrays):
        write_idx(tmp_path, "train", *arrays)
        write_idx(tmp_path, "digits-train", *arrays)
        with pytest.raises(data.DataError, match="expected one file of training images, got digits-train-images-"):
            data.load(tmp_path)
        write_idx(tmp_path / "other", "letters", *arrays)
        with pytest.raises(data.DataError, match=r"letters-images.*: expected a name that says the part of the data"):
            data.load(tmp_path / "other")

    def test_two_forms_in_a_folder_are_refused(self, tmp_path, arrays):
        write_idx(tmp_path, "train", *arrays)
        write_class_folders(tmp_path, 1)
        assert "the images in blue/, green/, red/ are ignored" in data.load(tmp_path).notes[0]
        (tmp_path / "0.cls").write_text("0")
        with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
            tar.add(tmp_path / "red" / "0.png", "0.png")
            tar.add(tmp_path / "0.cls", "0.cls")
        with pytest.raises(data.DataError, match="expected data in one form, got IDX files and tar shards"):
            data.load(tmp_path)

    def test_wrong_files_are_refused_in_a_sentence(self, tmp_path, arrays):
        images, labels = arrays
        write_idx(tmp_path, "t10k", images, labels)
        with pytest.raises(data.DataError, match=r"expected a training part, found only t10k-images-idx3-ubyte\.gz"):
            data.load(tmp_path)
        assert data.load_test(tmp_path).labels.tolist() == list(labels)  # a test set alone is enough to test on
        write_idx(tmp_path, "train", images, labels[:-1])
        with pytest.raises(
            data.DataError,
            match=r"train-images-idx3-ubyte\.gz: expected a label for each image, got 30 images and 29 labels",
        ):
            data.load(tmp_path)
        write_idx(tmp_path, "train", images, labels)
        write_idx(tmp_path, "t10k", images, labels + 1)
        with pytest.raises(
            data.DataError, match=r"t10k-labels-idx1-ubyte\.gz, position 2: labels: expected 0 to 2, got 3"
        ):
            data.load(tmp_path)
        path = tmp_path / "train-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(data.DataError, match="damaged or cut short"):
            data.load(tmp_path)
        path.unlink()
        with pytest.raises(data.DataError, match=r"found only train-labels-idx1-ubyte\.gz"):
            data.load(tmp_path)


def test_arrays_refuse_what_does_not_fit():
    images = np.zeros((4, 5, 6, 3), np.uint8)
    with pytest.raises(data.DataError, match="labels: expected 0 to 1, got -1"):
        data.Arrays(images, [0, 1, -1, 0], ["a", "b"])
    with pytest.raises(data.DataError, match="expected uint8"):
        data.Arrays(images / 255, [0, 1, 1, 0], ["a", "b"])
    with pytest.raises(data.DataError, match="expected uint8"):
        data.Arrays(images[..., :2], [0, 1, 1, 0], ["a", "b"])


@pytest.mark.skipif(not (SHARED / "fashion_mnist").is_dir(), reason="Fashion-MNIST is not beside the checkout")
def test_fashion_mnist():
    loaded = data.load(SHARED / "fashion_mnist")
    assert (len(loaded.train), len(loaded.test), len(loaded.train.classes)) == (60_000, 10_000, 10)
    assert loaded.train.labels[:5].tolist() == [9, 0, 0, 3, 0]


@pytest.mark.skipif(not (SHARED / "imagenette224_small").is_dir(), reason="the photographs are not beside the checkout")
def test_photographs():
    loaded = data.load(SHARED / "imagenette224_small")
    assert (len(loaded.train), len(loaded.test), len(loaded.train.classes)) == (2000, 600, 10)
    images, labels = next(data.Loader(loaded.train, loaded.preparation(), 3, seed=0).batches())
    assert (images.shape, labels.shape) == ((3, 224, 224, 3), (3,))
    assert abs(images.mean()) < 1.5
