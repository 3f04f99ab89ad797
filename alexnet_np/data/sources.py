"""Where data come from: scikit-learn's digits, a folder of class folders, a folder of IDX files."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import idx
from .dataset import Arrays, Data, DataError, Dataset, Files, split
from .images import SUFFIXES

DIGITS = "digits"
TEST_PARTS = ("val", "test")

IDX_NAME = re.compile(r"(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")


def load(source: str | os.PathLike[str] = DIGITS) -> Data:
    """A training and a test set: "digits", or the path of a folder in one of these forms.

    FOLDER/CLASS/*.jpg                                           a fifth of each class is held out for the test
    FOLDER/train/CLASS/*.jpg, FOLDER/val/CLASS/*.jpg             (or test/ for val/; without it, as above)
    FOLDER/train-images-idx3-ubyte.gz, ...                       as of MNIST and Fashion-MNIST; .gz or not

    Raises FileNotFoundError or DataError.
    """
    if source == DIGITS:
        return Data(DIGITS, *split(_digits()), photographs=False, size=64)
    folder = _existing_folder(source)
    idx_files = _idx_files(folder)
    train, test = _from_idx(folder, idx_files) if idx_files else _from_folders(folder)
    if len(train.classes) < 2:
        raise DataError(f"{folder}: expected at least 2 classes, got {len(train.classes)} ({', '.join(train.classes)})")
    if test is None:
        train, test = split(train)
    return Data(folder.resolve().name, train, test, photographs=not idx_files, size=64 if idx_files else 224)


def load_test(source: str | os.PathLike[str], classes: Sequence[str] | None = None) -> Dataset:
    """What a finished network is tested on: the test part of data that have one, else all of a folder.

    ``classes`` are those that the network knows, where they are known: labels are positions in them.
    """
    if source == DIGITS or _idx_files(_existing_folder(source)):
        return load(source).test
    folder = Path(source)
    return _class_folders(_part(folder, *TEST_PARTS) or folder, classes)


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


def _existing_folder(source: str | os.PathLike[str]) -> Path:
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(f"data: there is no folder {folder}")
    return folder


def _idx_files(folder: Path) -> dict[tuple[str, str], Path]:
    """(part, kind) -> path: ("train", "images"), ..."""
    matches = ((IDX_NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return {(match["part"], match["kind"]): path for match, path in matches if match}


def _from_idx(folder: Path, files: dict[tuple[str, str], Path]) -> tuple[Dataset, Dataset | None]:
    train = _idx_part(folder, files, "train")
    if train is None:
        raise DataError(f"{folder}: expected train-images and train-labels among its IDX files, found neither")
    return train, _idx_part(folder, files, "t10k", train.classes) or _idx_part(folder, files, "test", train.classes)


def _idx_part(
    folder: Path, files: dict[tuple[str, str], Path], part: str, classes: Sequence[str] | None = None
) -> Arrays | None:
    """The images and labels of a part; None where there are neither. Classes are numbers, 0 to the largest label."""
    paths = [files[part, kind] for kind in ("images", "labels") if (part, kind) in files]
    if not paths:
        return None
    if len(paths) == 1:
        raise DataError(f"{folder}: expected {part}-images and {part}-labels, found only {paths[0].name}")
    try:
        images, labels = (idx.read(path) for path in paths)
    except ValueError as error:
        raise DataError(str(error)) from error
    if labels.ndim != 1 or labels.dtype != np.uint8 or labels.size == 0:
        raise DataError(f"{paths[1]}: expected labels, uint8 (N,), got {labels.dtype} {labels.shape}")
    try:
        return Arrays(images, labels, classes or [str(label) for label in range(int(labels.max()) + 1)])
    except DataError as error:
        raise DataError(f"{folder}, {part}: {error}") from error


def _from_folders(folder: Path) -> tuple[Dataset, Dataset | None]:
    train_folder, test_folder = _part(folder, "train"), _part(folder, *TEST_PARTS)
    if train_folder is None:
        return _class_folders(folder), None
    train = _class_folders(train_folder)
    return train, None if test_folder is None else _class_folders(test_folder, train.classes)


def _part(folder: Path, *names: str) -> Path | None:
    """The first of these folders that holds folders: one that holds images is a class of that name."""
    parts = (folder / name for name in names)
    return next((part for part in parts if part.is_dir() and any(path.is_dir() for path in part.iterdir())), None)


def _class_folders(folder: Path, classes: Sequence[str] | None = None) -> Files:
    """The pictures in a folder's folders, which are the classes; in alphabetical order."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise DataError(f"{folder}: expected a folder for each class, with images in it, or IDX files; found neither")
    names = [path.name for path in folders]
    classes = names if classes is None else list(classes)
    if unknown := sorted(set(names) - set(classes)):
        raise DataError(f"{folder}: unknown classes {', '.join(unknown)} (known are {', '.join(classes)})")
    paths: list[Path] = []
    labels: list[int] = []
    for class_folder in folders:
        images = sorted(path for path in class_folder.iterdir() if path.suffix.lower() in SUFFIXES)
        if not images:
            raise DataError(f"{class_folder}: expected images ({', '.join(sorted(SUFFIXES))}), found none")
        paths += images
        labels += [classes.index(class_folder.name)] * len(images)
    return Files(paths, labels, classes)
