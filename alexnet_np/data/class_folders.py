"""A folder for each class, with pictures in it: torchvision's ImageFolder convention."""

import os
from collections.abc import Sequence
from pathlib import Path

from .dataset import DataError, Files
from .images import SUFFIXES

TRAIN, TEST = ("train",), ("val", "test")


def parts(folder: Path) -> tuple[Files, Files | None]:
    """The training set, and the test set where there is one: of train/ and val/ or test/, else of the folder itself."""
    train_folder, test_folder = part(folder, *TRAIN), part(folder, *TEST)
    if train_folder is None:
        return open_folder(folder), None
    train = open_folder(train_folder)
    return train, None if test_folder is None else open_folder(test_folder, train.classes)


def part(folder: Path, *names: str) -> Path | None:
    """The first of these folders that holds folders: one that holds images is a class of that name."""
    there = (folder / name for name in names)
    return next((path for path in there if path.is_dir() and any(inside.is_dir() for inside in path.iterdir())), None)


def open_folder(folder: Path, classes: Sequence[str] | None = None) -> Files:
    """The pictures in a folder's folders, which are the classes; in alphabetical order. DataError.

    ``classes`` are those that are known, where some are: labels are positions in them.
    """
    found = pictures(folder)
    if not found:
        raise DataError(
            f"{folder}: expected a folder for each class, with images in it, IDX files, CIFAR's binary files or "
            "tar shards; found none"
        )
    classes = list(found) if classes is None else list(classes)
    if unknown := sorted(set(found) - set(classes)):
        raise DataError(f"{folder}: unknown classes {', '.join(unknown)} (known are {', '.join(classes)})")
    if empty := [name for name, paths in found.items() if not paths]:
        raise DataError(f"{folder / empty[0]}: expected images ({', '.join(sorted(SUFFIXES))}), found none")
    return files(found, classes)


def pictures(folder: Path) -> dict[str, list[Path]]:
    """The names of classes, and the files that are pictures by their names, at any depth in their folders."""
    return {
        name: [file for file in files if file.suffix.lower() in SUFFIXES] for name, files in all_files(folder).items()
    }


def all_files(folder: Path) -> dict[str, list[Path]]:
    """The names of classes, and all files in their folders, but for hidden ones; in alphabetical order."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {
        path.name: sorted(
            Path(where, name)
            for where, _, names in os.walk(path, followlinks=True)
            for name in names
            if not name.startswith(".")
        )
        for path in folders
    }


def files(found: dict[str, list[Path]], classes: Sequence[str]) -> Files:
    """The data set of what ``pictures`` found; all its classes have to be among ``classes``."""
    paths = [path for inside in found.values() for path in inside]
    number = {name: label for label, name in enumerate(classes)}
    return Files(paths, [number[name] for name, inside in found.items() for _ in inside], classes)
