"""A folder for each class, with pictures in it: torchvision's ImageFolder convention."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .classes import quoted
from .dataset import DataError, Files
from .images import SUFFIXES

TRAIN, TEST = ("train",), ("val", "test")


@dataclass(frozen=True)
class Found:
    """What is in the folders of ``folder``, at any depth: of each, which is a class, its pictures.

    What is a picture, its suffix says; how many files of others there are, ``passed_over``. Hidden files do
    not count, nor what is in hidden folders, such as the copies in .ipynb_checkpoints/.
    """

    folder: Path
    pictures: dict[str, list[Path]]
    passed_over: Counter[str]


def find(folder: Path) -> Found:
    """Classes and pictures in alphabetical order."""
    pictures: dict[str, list[Path]] = {}
    passed_over: Counter[str] = Counter()
    for path in _class_folders(folder):
        files = list(_files(path))
        pictures[path.name] = sorted(file for file in files if is_picture(file))
        passed_over.update(file.suffix.lower() or "without a suffix" for file in files if not is_picture(file))
    return Found(folder, pictures, passed_over)


def _files(folder: Path) -> Iterator[Path]:
    """At any depth."""
    for where, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_hidden(name)]  # which are not entered then
        yield from (Path(where, name) for name in names if not is_hidden(name))


def is_hidden(name: str) -> bool:
    return name.startswith(".")


def is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def find_parts(folder: Path) -> tuple[Found, Found | None]:
    """What to train on, and what to test on where there is some: in train/ and val/ or test/, else in the folder."""
    train, test = part(folder, *TRAIN), part(folder, *TEST)
    if train is None:
        return find(folder), None
    return find(train), None if test is None else find(test)


def part(folder: Path, *names: str) -> Path | None:
    """The first of these folders that holds folders: one that holds images is a class of that name."""
    return next((folder / name for name in names if _class_folders(folder / name)), None)


def _class_folders(folder: Path) -> list[Path]:
    """In alphabetical order; none where there is no such folder."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in inside if path.is_dir() and not is_hidden(path.name)]


def data_set(found: Found, classes: Sequence[str] | None = None) -> Files:
    """The pictures that were found. DataError where there is no class, one without pictures, or an unknown one.

    ``classes`` are those that are known, where some are: labels are positions in them.
    """
    folder = found.folder
    if not found.pictures:
        raise DataError(
            f"{folder}: expected a folder for each class, with images in it, IDX files, CIFAR's binary files or "
            "tar shards; found none"
        )
    classes = list(found.pictures) if classes is None else list(classes)
    if unknown := sorted(set(found.pictures) - set(classes)):
        raise DataError(f"{folder}: unknown classes {quoted(unknown)} (known are {quoted(classes)})")
    if empty := [name for name, paths in found.pictures.items() if not paths]:
        raise DataError(f"{folder / empty[0]}: expected images ({', '.join(sorted(SUFFIXES))}), found none")
    return files(found, classes)


def files(found: Found, classes: Sequence[str]) -> Files:
    """The same of classes that are known to be among ``classes``; some may be empty."""
    number = {name: label for label, name in enumerate(classes)}
    paths = [path for inside in found.pictures.values() for path in inside]
    return Files(paths, [number[name] for name, inside in found.pictures.items() for _ in inside], classes)
