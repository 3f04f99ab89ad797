"""CIFAR-10 and CIFAR-100 in their binary version (Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html).

A file is a row of records: the label, 1 byte (CIFAR-100: 2 bytes, the coarse and the fine one, of which the fine
one is taken), then 32x32 pixels of red, as many of green, as many of blue. Names of the classes stand in a text file.

The "python" version of the same pictures is pickled, and to unpickle a file is to run what it says: it is not read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dataset import Arrays, DataError, Part, distinct_names
from .part_names import TEST, TRAIN

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


def parts(folder: Path) -> dict[str, Part] | None:
    """Training and test part in a folder, or in the folder that the archive makes in it; None without. DataError."""
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


def _parts(folder: Path, version: Version) -> dict[str, Part]:
    expected = [*version.train, version.test, version.names]
    if missing := [name for name in expected if not (folder / name).is_file()]:
        raise DataError(f"{folder}: expected {', '.join(expected)}, but {', '.join(missing)} is missing")
    classes = distinct_names(folder / version.names)
    return {
        part: Part(
            names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", _part(folder, names, version, classes)
        )
        for part, names in ((TRAIN, version.train), (TEST, [version.test]))
    }


def _part(folder: Path, names: Sequence[str], version: Version, classes: Sequence[str]) -> Arrays:
    files = [_records(folder / name, version.label_bytes) for name in names]
    ends = np.cumsum([len(labels) for _, labels in files])

    def where(index: int) -> str:
        number = int(np.searchsorted(ends, index, side="right"))
        return f"{folder / names[number]}, position {index - int(ends[number]) + len(files[number][1])}"

    images, labels = (np.concatenate(arrays) for arrays in zip(*files, strict=True))
    return Arrays(images, labels, classes, where)


def _records(path: Path, label_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) and labels (N,) of a file."""
    length = label_bytes + SIDE * SIDE * 3
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: expected at most {MAX_BYTES:,} bytes, got {path.stat().st_size:,}")
    content = np.fromfile(path, np.uint8)
    if content.size == 0 or content.size % length:
        raise DataError(f"{path}: expected records of {length} bytes, got {content.size} bytes: it is not whole")
    records = content.reshape(-1, length)
    planes = records[:, label_bytes:].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, label_bytes - 1]
