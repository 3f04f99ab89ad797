"""Which part of a data set a name says."""

import pytest

from alexnet_np.data import DataError
from alexnet_np.data.part_names import TEST, TRAIN, VALIDATION, folder_parts, part_in


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (
            TRAIN,
            [
                "train",
                "Training",
                "TRAIN",
                "trainval",
                "train2017",
                "seg_train",
                "trainset",
                "train_images",
                "img.train",
            ],
        ),
        (VALIDATION, ["val", "Val", "valid", "validation", "dev", "dev_set", "val-images", "ValidationSet"]),
        (TEST, ["test", "Testing", "test1", "seg_test", "TestImages", "Test Set", "t10k", "t10k-images"]),
    ],
)
def test_usual_names_of_folders_say_a_part(part, names):
    for name in names:
        assert folder_parts([name]) == {name: part}
        assert part_in(name) == part


@pytest.mark.parametrize("name", ["contest", "valley", "latest", "trains", "devil", "0", "n01440764", "t10", "set", ""])
def test_other_words_say_nothing(name):
    assert folder_parts([name]) == {}
    assert part_in(name) is None


def test_a_word_in_another_name_says_a_part_only_beside_the_same_name_with_another_part():
    assert folder_parts(["bullet_train", "bullet_points", "steam_train", "cat"]) == {}
    assert folder_parts(["imagenet_train", "imagenet_val", "cat"]) == {
        "imagenet_train": TRAIN,
        "imagenet_val": VALIDATION,
    }


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("imagenet1k-train-0000.tar", TRAIN),
        ("imagenet1k-validation-00.tar", VALIDATION),
        ("emnist-letters-test", TEST),
        ("shard-0000.tar", None),
    ],
)
def test_in_a_file_the_word_stands_anywhere(name, part):
    assert part_in(name) == part


def test_a_name_that_says_two_parts_is_refused():
    with pytest.raises(DataError, match="'train_val': the name says two parts of a data set, training and validation"):
        part_in("train_val")
    with pytest.raises(DataError, match="two parts"):
        folder_parts(["train_test_split"])
    assert folder_parts(["test_of_a_train_engine"]) == {}
