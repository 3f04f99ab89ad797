"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

A file is a row of records: the label, 1 byte (CIFAR-100: 2 bytes, the coarse and the fine one, of which the fine
one is taken), then 32x32 pixels of red, as many of green, as many of blue. Names of the classes stand in a text file.

The "python" version of the same pictures is pickled, and to unpickle a file is to run what it says: it is not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dataset import Arrays, DataError, read_names

SIDE = 32
MAX_BYTES = 200_000_000  # of a file; CIFAR-100's train.bin has 154 million


@dataclass(frozen=True)
class Version:
    """Which of the two, and what its files are called."""

    folder: str
    train: Sequence[str]
    test: str
    names: str
    label_bytes: int
    pickled: Sequence[str]


VERSIONS = (
    Version(
        folder="cifar-10-batches-bin",
        train=[f"data_batch_{k}.bin" for k in range(1, 6)],
        test="test_batch.bin",
        names="batches.meta.txt",
        label_bytes=1,
        pickled=("data_batch_1", "test_batch", "batches.meta"),
    ),
    Version(
        folder="cifar-100-binary",
        train=["train.bin"],
        test="test.bin",
        names="fine_label_names.txt",
        label_bytes=2,
        pickled=("train", "test", "meta"),
    ),
)


def parts(folder: Path) -> tuple[Arrays, Arrays] | None:
    """The training and the test set in a folder, or in the folder that the archive makes in it; None without one."""
    for version in VERSIONS:
        for place in (folder, folder / version.folder):
            if any((place / name).is_file() for name in (*version.train, version.test)):
                return _parts(place, version)
        if all((folder / name).is_file() for name in version.pickled):
            raise DataError(
                f"{folder}: this is CIFAR's Python version, which is pickled; to read it would be to run what it says. "
                f"Take the binary version ({version.folder})"
            )
    return None


def _parts(folder: Path, version: Version) -> tuple[Arrays, Arrays]:
    expected = [*version.train, version.test, version.names]
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise DataError(f"{folder}: expected {', '.join(expected)}, but {', '.join(missing)} is missing")
    classes = read_names(folder / version.names)
    train, test = (
        Arrays(*_records([folder / name for name in names], version.label_bytes, len(classes)), classes)
        for names in (version.train, [version.test])
    )
    return train, test


def _records(paths: Sequence[Path], label_bytes: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,)."""
    length = label_bytes + SIDE * SIDE * 3
    files = []
    for path in paths:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path}: expected at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
        content = np.fromfile(path, np.uint8)
        if content.size == 0 or content.size % length:
            raise DataError(f"{path}: expected records of {length} bytes, got {content.size} bytes: it is not whole")
        files.append(content.reshape(-1, length))
        if (label := files[-1][:, label_bytes - 1].max()) >= num_classes:
            raise DataError(f"{path}: labels: expected 0 to {num_classes - 1}, got {label}")
    records = np.concatenate(files)
    planes = records[:, label_bytes:].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, label_bytes - 1]
