"""MNIST's file format."""

import gzip

import numpy as np
import pytest
from pictures import idx_bytes

from alexnet_np.data import idx


@pytest.mark.parametrize("compressed", [True, False])
def test_an_array_comes_back(tmp_path, compressed):
    array = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
    content = idx_bytes(array)
    (tmp_path / "file").write_bytes(gzip.compress(content) if compressed else content)
    read = idx.read(tmp_path / "file")
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            idx_bytes(np.zeros((3, 5, 7), np.uint8))[:-1],
            r"expected 121 bytes for an array of shape \(3, 5, 7\), got 120",
        ),
        (idx_bytes(np.zeros((3, 5, 7), np.uint8)) + b"?", "expected 121 bytes .* got 122"),
        (idx_bytes(np.zeros((3, 5, 7), np.uint8))[:9], "got 9"),
        (gzip.compress(idx_bytes(np.zeros((30, 50), np.uint8)))[:-9], "damaged or cut short"),
        (b"", "is not an IDX file"),
        (b"\x89PNG....", "is not an IDX file"),
        (b"\0\0\x0d\x01" + bytes(8), "is not an IDX file of unsigned bytes"),  # of float32
    ],
)
def test_what_is_no_whole_idx_file_is_refused_in_a_sentence(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        idx.read(tmp_path / "file")
