"""Classes by name: the labels of data are positions in the classes that a network knows, whatever the data's order."""

import numpy as np
import pytest

from alexnet_np.data import Arrays, DataError, match
from alexnet_np.data.dataset import Dataset, class_names


def data_set(classes, labels=None):
    """A picture of each class, whose pixels say which class it is."""
    labels = list(range(len(classes))) if labels is None else labels
    return Arrays(np.array(labels, np.uint8)[:, None, None], labels, classes)


def names_of(matched):
    return [matched.dataset.classes[label] for label in matched.dataset.labels]


def test_names_decide_whatever_their_order():
    theirs = ["dog", "owl", "cat"]
    matched = match("zoo", data_set(theirs), ["cat", "dog", "owl"], 3)
    assert matched.dataset.classes == ["cat", "dog", "owl"]
    assert matched.dataset.labels.tolist() == [1, 2, 0]
    assert (names_of(matched), matched.by, matched.note) == (theirs, "name", None)
    assert matched.dataset.image(2)[0, 0, 0] == 2  # the pictures stay where they are
    assert matched.dataset.subset(np.array([2])).labels.tolist() == [0]


def test_data_may_have_some_of_the_classes():
    matched = match("zoo", data_set(["owl", "cat"]), ["cat", "dog", "owl"], 3)
    assert (names_of(matched), matched.by) == (["owl", "cat"], "name")
    assert matched.note == "zoo has 2 of the 3 classes"


def test_names_without_pictures_do_not_matter():
    assert names_of(match("zoo", data_set(["owl", "cat", "yeti"], [0, 1]), ["cat", "dog", "owl"], 3)) == ["owl", "cat"]


def test_unknown_names_are_refused_with_a_few_of_them():
    known = [f"animal {number}" for number in range(9)]
    with pytest.raises(DataError) as caught:
        match("zoo", data_set(["yeti", *known]), known, 9)
    expected = (
        "zoo: unknown classes 'yeti' (known are 'animal 0', 'animal 1', 'animal 2', 'animal 3', 'animal 4' and 4 more)"
    )
    assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(
    ("theirs", "known", "names"),
    [
        (["0", "1", "2"], ["cat", "dog", "owl"], ["cat", "dog", "owl"]),
        (["cat", "dog", "owl"], None, ["cat", "dog", "owl"]),
        (["0", "1", "2"], None, ["0", "1", "2"]),
    ],
)
def test_without_names_on_one_side_positions_decide_and_that_is_said(theirs, known, names):
    matched = match("zoo", data_set(theirs), known, 3)
    assert (names_of(matched), matched.by) == (names, "position")
    assert f"0 is {names[0]}, 1 is {names[1]}" in matched.note


def test_names_that_a_network_of_numbers_cannot_know_are_refused():
    """Class folders come in alphabetical order, which has nothing to do with the numbers."""
    with pytest.raises(
        DataError, match=r"zoo: unknown classes 'cat', 'dog' \(known are '0', '1'\): .*--classes FILE names them"
    ):
        match("zoo", data_set(["cat", "dog"]), ["0", "1"], 2)


@pytest.mark.parametrize("known", [[f"animal {number}" for number in range(11)], None])
def test_folders_called_by_numbers_are_these_numbers_and_not_their_place_in_the_alphabet(known):
    folders = sorted(map(str, range(11)))  # 0, 1, 10, 2, ...
    assert match("zoo", data_set(folders), known, 11).dataset.labels.tolist() == [int(name) for name in folders]


def test_numbers_on_both_sides_are_names():
    matched = match("zoo", data_set(["0", "1"]), [str(number) for number in range(10)], 10)
    assert (matched.dataset.labels.tolist(), matched.by) == ([0, 1], "name")


@pytest.mark.parametrize(("theirs", "known"), [(["0", "1"], ["cat", "dog", "owl"]), (["cat", "dog"], None)])
def test_by_position_there_have_to_be_as_many(theirs, known):
    with pytest.raises(DataError, match="zoo has 2 classes, but the network knows 3, and without names"):
        match("zoo", data_set(theirs), known, 3)


def test_names_that_stand_twice_are_refused():
    known = ["crane", "dog", "crane"]  # ImageNet has two: a bird and a machine
    assert match("zoo", data_set(known), known, 3).by == "name"
    with pytest.raises(DataError, match="expected different names of all classes, got 'crane' more than once"):
        match("zoo", data_set(["dog", "crane"]), known, 3)


def test_numbers_that_count_from_one_are_not_matched_by_position():
    """A network trained on folders 1, 10, 2, ...: its output 1 is class "10"."""
    with pytest.raises(DataError, match=r"zoo: unknown classes '0' \(known are '1', '10', '2'"):
        match("zoo", data_set(list(map(str, range(10)))), sorted(str(number) for number in range(1, 11)), 10)


def test_a_name_whose_accents_macos_has_taken_apart_is_the_same():
    composed = ["caf\u00e9", "tea"]
    matched = match("bar", data_set(["cafe\u0301", "tea"]), composed, 2)
    assert (names_of(matched), matched.by) == (composed, "name")


def test_many_classes_take_no_time():
    names = [f"animal {number}" for number in range(50_000)]
    assert match("zoo", Dataset(names[::-1], range(len(names))), names, len(names)).dataset.labels[0] == len(names) - 1


def test_what_would_steer_a_terminal_is_written_out():
    note = match("zoo", data_set(["0", "1"]), ["cat", "\x1b[2Jdog"], 2).note
    assert "1 is \\x1b[2Jdog" in note


def test_names_in_classes_txt_have_to_differ(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\ndog \r\n".encode())
    assert class_names(tmp_path) == ["cat", "dog"]
    for content, message in (
        (b"cat\ncat\n", "got 'cat' more than once"),
        (b"cat\n\ndog", "none in line 2"),
        (b"\xff", "UTF-8"),
    ):
        (tmp_path / "classes.txt").write_bytes(content)
        with pytest.raises(DataError, match=message):
            class_names(tmp_path)
