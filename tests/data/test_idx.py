"""MNIST's file format."""

import gzip

import numpy as np
import pytest
from pictures import idx_bytes

from alexnet_np import data
from alexnet_np.data import idx


@pytest.mark.parametrize("compressed", [True, False])
def test_an_array_comes_back(tmp_path, compressed):
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    content = idx_bytes(array)
    (tmp_path / "file").write_bytes(gzip.compress(content, mtime=0) if compressed else content)
    read = idx.read(tmp_path / "file")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            idx_bytes(np.zeros((3, 5, 7), np.uint8))[:-1],
            r"expected 105 bytes for an array of shape \(3, 5, 7\), got 104",
        ),
        (idx_bytes(np.zeros((3, 5, 7), np.uint8)) + b"?", "expected 105 bytes .* got more"),
        (idx_bytes(np.zeros((3, 5, 7), np.uint8))[:9], "its header is cut short"),
        (gzip.compress(idx_bytes(np.zeros((30, 50), np.uint8)), mtime=0)[:-9], "damaged or cut short"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "expected 1 to 4 axes, got 255"),
        (b"\0\0\x08\0?", "expected 1 to 4 axes, got 0"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "expected at most 600,000,000 bytes, got an array of shape"),
        (b"\0\0\x08\x02" + b"\0\0\x10\0" * 2, "expected 16,777,216 bytes .* got 0"),
        (
            gzip.compress(idx_bytes(np.zeros((3, 5), np.uint8)) + bytes(10_000), mtime=0),
            "expected 15 bytes .* got more",
        ),
        (b"", "is not an IDX file"),
        (b"\x89PNG....", "is not an IDX file"),
        (b"\0\0\x0d\x01" + bytes(8), "is not an IDX file of unsigned bytes"),  # of float32
    ],
)
def test_what_is_no_whole_idx_file_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        idx.read(tmp_path / "file")


def test_images_without_pixels_are_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((3, 0, 0), np.uint8)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(
        data.DataError, match=r"train-images-idx3-ubyte: expected images of at least one pixel, got \(3"
    ):
        data.load(tmp_path)
