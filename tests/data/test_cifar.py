"""CIFAR's binary files."""

import numpy as np
import pytest

from alexnet_np import data

NAMES = {10: "batches.meta.txt", 100: "fine_label_names.txt"}


def write(folder, classes, records_of_a_file=4):
    """Files in CIFAR's form; returns all images, (N, 32, 32, 3), and labels, the test's last."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    names = (
        ["train.bin", "test.bin"]
        if classes == 100
        else [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    )
    images = rng.integers(0, 256, (len(names) * records_of_a_file, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, classes, len(images), dtype=np.uint8)
    for k, name in enumerate(names):
        content = b""
        for image, label in list(zip(images, labels, strict=True))[k * records_of_a_file :][:records_of_a_file]:
            coarse = b"\x07" if classes == 100 else b""
            planes = [image[..., colour].tobytes() for colour in range(3)]
            content += coarse + bytes([label]) + b"".join(planes)
        (folder / name).write_bytes(content)
    (folder / NAMES[classes]).write_text("\n".join(f"name{k}" for k in range(classes)) + "\n\n")
    return images, labels


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("within", [".", "archive"])
def test_pictures_and_labels_are_read(tmp_path, classes, within):
    archive = {10: "cifar-10-batches-bin", 100: "cifar-100-binary"}[classes]
    images, labels = write(tmp_path / (archive if within == "archive" else "."), classes)
    loaded = data.load(tmp_path)
    assert (len(loaded.train), len(loaded.test)) == (len(images) - 4, 4)
    assert loaded.train.classes == loaded.test.classes == [f"name{k}" for k in range(classes)]
    assert (loaded.photographs, loaded.size) == (True, 64)
    for part, first in ((loaded.train, 0), (loaded.test, len(images) - 4)):
        for i in range(len(part)):
            np.testing.assert_array_equal(part.image(i), images[first + i])
        np.testing.assert_array_equal(part.labels, labels[first:][: len(part)])


def test_what_is_not_whole_is_refused_in_a_sentence(tmp_path):
    write(tmp_path, 10)
    batch = tmp_path / "data_batch_3.bin"
    content = batch.read_bytes()
    batch.write_bytes(content[:-1])
    with pytest.raises(data.DataError, match="expected records of 3073 bytes, got 12291 bytes"):
        data.load(tmp_path)
    batch.write_bytes(b"")
    with pytest.raises(data.DataError, match="got 0 bytes"):
        data.load(tmp_path)
    batch.write_bytes(b"\x0a" + content[1:])
    with pytest.raises(data.DataError, match=r"data_batch_3\.bin, position 0: labels: expected 0 to 9, got 10"):
        data.load(tmp_path)
    batch.unlink()
    with pytest.raises(data.DataError, match=r"but data_batch_3\.bin is missing"):
        data.load(tmp_path)


@pytest.mark.parametrize("names", [("data_batch_1", "test_batch", "batches.meta"), ("train", "test", "meta")])
def test_the_pickled_version_is_refused_unread(tmp_path, names):
    for name in names:
        (tmp_path / name).write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(data.DataError, match=r"pickled.* Take the binary version"):
        data.load(tmp_path)
