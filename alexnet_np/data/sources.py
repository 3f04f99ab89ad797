"""Where data come from: whatever of the known forms a folder holds, or scikit-learn's digits."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import cifar, class_folders, download, idx, shards
from .classes import match
from .dataset import Arrays, Data, DataError, Dataset, split

DIGITS = "digits"


def load(source: str | os.PathLike[str] = DIGITS) -> Data:
    """A training and a test set: "digits", or the path of a folder in one of these forms.

    FOLDER/CLASS/*.jpg                                           a fifth of each class is held out for the test
    FOLDER/train/CLASS/*.jpg, FOLDER/val/CLASS/*.jpg             (or test/ for val/; without it, as above)
    FOLDER/train-*.tar, FOLDER/val-*.tar                         WebDataset's shards; also a pattern of files, such as
                                                                 "FOLDER/train-{000..099}.tar"
    FOLDER/data_batch_1.bin, ..., FOLDER/train.bin, ...          CIFAR-10's and CIFAR-100's binary version
    FOLDER/train-images-idx3-ubyte.gz, ...                       as of MNIST and Fashion-MNIST; .gz or not

    Raises FileNotFoundError or DataError.
    """
    if source == DIGITS:
        return Data(DIGITS, *split(_digits()), photographs=False, size=64)
    source = os.fspath(source)
    return _data(source, _other_form(source) or _class_folders(Path(source)))


def load_test(source: str | os.PathLike[str], classes: Sequence[str] | None = None) -> Dataset:
    """What a finished network is tested on: the test part of data that have one, else all of a folder.

    ``classes`` are those that the network knows, where they are known: labels are positions in them then, found by name
    (``classes.match``). DataError for unknown ones.
    """
    test = _test_part(source)
    return test if classes is None else match(source, test, classes, len(classes)).dataset


def _test_part(source: str | os.PathLike[str]) -> Dataset:
    if source == DIGITS:
        return load(source).test
    source = os.fspath(source)
    if (opened := _other_form(source)) is not None:
        return _data(source, opened).test
    folder = Path(source)
    return class_folders.data_set(class_folders.find(class_folders.part(folder, *class_folders.TEST) or folder))


def is_class_folders(source: str | os.PathLike[str]) -> bool:
    """Whether this is a folder in none of the other forms. Raises what load raises of those."""
    return source != DIGITS and _other_form(os.fspath(source)) is None


@dataclass(frozen=True)
class Opened:
    """What a source holds. See Data."""

    train: Dataset
    test: Dataset | None
    photographs: bool
    size: int
    passed_over: Mapping[str, int] = field(default_factory=dict)


def _other_form(source: str) -> Opened | None:
    """What is not in class folders; else None."""
    folder = Path(source)
    if folder.is_dir():
        if (found := idx.parts(folder)) is not None:
            return Opened(*found, photographs=False, size=64)
        if (found := cifar.parts(folder)) is not None:
            return Opened(*found, photographs=True, size=64)
    elif not shards.is_pattern(source):
        known = folder.name in download.SETS
        raise FileNotFoundError(f"data: there is no folder {folder}{' (--download fetches it)' if known else ''}")
    if paths := shards.find(source):
        return Opened(*shards.parts(paths), photographs=True, size=224)
    return None


def _class_folders(folder: Path) -> Opened:
    found, found_for_test = class_folders.find_parts(folder)
    train = class_folders.data_set(found)
    test = class_folders.data_set(found_for_test, train.classes) if found_for_test else None
    passed_over = found.passed_over + (found_for_test.passed_over if found_for_test else Counter())
    return Opened(train, test, photographs=True, size=224, passed_over=passed_over)


def _data(source: str, opened: Opened) -> Data:
    train, test = opened.train, opened.test
    if len(train.classes) < 2:
        raise DataError(f"{source}: expected at least 2 classes, got {len(train.classes)} ({', '.join(train.classes)})")
    if test is None:
        train, test = split(train)
    path = Path(source).resolve()
    name = path.name if path.is_dir() else path.parent.name
    return Data(name, train, test, opened.photographs, opened.size, opened.passed_over)


def _digits() -> Arrays:
    """1,797 handwritten digits, 8x8 pixels, from the UCI repository (Alpaydin & Kaynak 1998)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "digits: scikit-learn, which has them, is not installed (pip install 'alexnet-np[demo]')"
        ) from error
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # 0 ... 16 in the file
    return Arrays(images, digits.target, [str(digit) for digit in range(10)])
