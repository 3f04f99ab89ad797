"""Where data come from: whatever of the known forms a folder holds, or scikit-learn's digits."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from . import cifar, class_folders, download, idx, shard_files
from .classes import few, match
from .dataset import Arrays, Data, DataError, Dataset, Part, split
from .findings import Finding, of_classes
from .folders import images_in, look
from .part_names import TEST, TRAIN, VALIDATION

DIGITS = "digits"
HELD_OUT = "a fifth of each class, held out of the training set"
ALL = "all of it"


def load(source: str | os.PathLike[str] = DIGITS) -> Data:
    """A training and a test set: "digits", or the path of a folder in one of these forms.

    FOLDER/CLASS/*.jpg                                           a fifth of each class is held out for the test
    FOLDER/train/CLASS/*.jpg, FOLDER/val/CLASS/*.jpg             (or test/ for val/; without it, as above)
    FOLDER/train-*.tar, FOLDER/val-*.tar                         WebDataset's shards, also in train/ and val/; also a
                                                                 pattern of files: "FOLDER/train-{000..099}.tar"
    FOLDER/data_batch_1.bin, ..., FOLDER/train.bin, ...          CIFAR-10's and CIFAR-100's binary version
    FOLDER/train-images-idx3-ubyte.gz, ...                       as of MNIST and Fashion-MNIST; .gz or not

    part_names.py has all names of the parts. Where there are three, the run is judged by the validation part, and the
    test part is kept aside. Raises FileNotFoundError or DataError.
    """
    return _data(open_source(source))


def load_test(source: str | os.PathLike[str], classes: Sequence[str] | None = None) -> Dataset:
    """What a finished network is tested on: the test part of data that have one, else the validation part, else all of
    a folder.

    ``classes`` are those that the network knows, where they are known: labels are positions in them then, found by name
    (``classes.match``). DataError for unknown ones.
    """
    test = open_test(source).dataset
    return test if classes is None else match(source, test, classes, len(classes)).dataset


@dataclass(frozen=True)
class Tested:
    """What a network is tested on: which ``part`` of the data, in words, and ``notes`` for a person."""

    dataset: Dataset
    part: str
    notes: Sequence[str] = ()

    @classmethod
    def judging(cls, data: Data) -> Self:
        """What a run on these data is judged by."""
        return cls(data.test, data.judged_by, [*data.notes, *data.warnings])


def open_test(source: str | os.PathLike[str]) -> Tested:
    """See load_test."""
    opened = _digits() if _is_digits(source) else _other_form(source)
    if opened is None:
        layout = class_folders.layout(Path(source))
        if part := next((part for part in (TEST, VALIDATION) if part in layout.parts), None):
            return _of_class_folders(layout, layout.parts[part], f"{_within(layout, part)}, the {part} set")
        if not layout.parts:
            return _of_class_folders(layout, layout.folder, ALL)
        opened = _class_folders(layout)
    if part := next((part for part in (TEST, VALIDATION) if part in opened.parts), None):
        _refuse(opened)
        tested = opened.parts[part]
        return Tested(tested.dataset, f"{tested.called}, the {part} set", [*opened.notes, *map(str, opened.findings)])
    return Tested.judging(_data(opened))


def _of_class_folders(layout: class_folders.Layout, folder: Path, part: str) -> Tested:
    """Only the folder that is tested on is looked into: whatever may be wrong with the others."""
    found = class_folders.find(folder)
    dataset = class_folders.files(found, list(found.pictures))
    if not len(dataset):
        raise DataError(f"{folder}: {class_folders.EXPECTED}; found none")
    return Tested(dataset, part, [*layout.notes, *map(str, [*layout.findings, *found.findings])])


@dataclass(frozen=True)
class Opened:
    """What a source holds: its parts, of the same classes, with the faults that training would refuse."""

    source: str
    parts: dict[str, Part]
    photographs: bool
    size: int
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    passed_over: Mapping[str, int] = field(default_factory=dict)

    @property
    def judging(self) -> str | None:
        """The part that a run is judged by; None where a share of the training part is."""
        return next((part for part in (VALIDATION, TEST) if part in self.parts), None)

    def datasets(self) -> dict[str, Dataset]:
        """By what a person calls them: "train", "test"; of three parts "train", "validation", "test". DataError."""
        if TRAIN not in self.parts:
            found = " and ".join(part.called for part in self.parts.values())
            raise DataError(f"{self.source}: expected a training part, found only {found}")
        train = self.parts[TRAIN].dataset
        if len(train.classes) < 2:
            expected = f"expected at least 2 classes, got {len(train.classes)} ({', '.join(train.classes)})"
            only = Path(self.source, *train.classes)
            deeper = f". If the data set is inside, name it: {only}" if only.is_dir() and not look(only).images else ""
            raise DataError(f"{self.source}: {expected}{deeper}")
        if self.judging is None:
            train, test = split(train)
            return {"train": train, "test": test}
        if len(self.parts) == 2:
            return {"train": train, "test": self.parts[self.judging].dataset}
        return {"train": train, "validation": self.parts[VALIDATION].dataset, "test": self.parts[TEST].dataset}


def open_source(source: str | os.PathLike[str]) -> Opened:
    """What there is. FileNotFoundError, DataError where it cannot be told."""
    if _is_digits(source):
        return _digits()
    return _other_form(source) or _class_folders(class_folders.layout(Path(source)))


def _refuse(opened: Opened) -> None:
    """DataError for the first thing that training refuses."""
    for finding in opened.findings:
        if finding.stops:
            raise DataError(str(finding))


def _data(opened: Opened) -> Data:
    _refuse(opened)
    datasets = opened.datasets()
    judging, notes = opened.judging, list(opened.notes)
    kept_aside = datasets["test"] if "validation" in datasets else None
    if kept_aside is not None:
        notes.append(f"{opened.parts[TEST].called}, the test set, is kept aside: alexnet-np evaluate tests on it")
    return Data(
        _name(opened.source),
        datasets["train"],
        datasets["test" if kept_aside is None else "validation"],
        opened.photographs,
        opened.size,
        opened.passed_over,
        HELD_OUT if judging is None else f"{opened.parts[judging].called}, the {judging} set",
        kept_aside,
        notes,
        list(map(str, opened.findings)),
    )


def _name(source: str) -> str:
    if source == DIGITS:
        return DIGITS
    path = Path(os.path.realpath(source))
    return path.name if path.is_dir() else path.parent.name


def _is_digits(source: str | os.PathLike[str]) -> bool:
    return source == DIGITS


def _other_form(source: str | os.PathLike[str]) -> Opened | None:
    """What is not in class folders; else None. FileNotFoundError, DataError."""
    name, folder = os.fspath(source), Path(source)
    forms: dict[str, Opened] = {}
    if folder.is_dir():
        if (found := idx.parts(folder)) is not None:
            forms["IDX files"] = Opened(name, found, photographs=False, size=64)
        if (found := cifar.parts(folder)) is not None:
            forms["CIFAR's binary files"] = Opened(name, found, photographs=True, size=64)
    elif not shard_files.is_pattern(name):
        known = folder.name in download.SETS
        if folder.exists():
            raise DataError(f"{name}: expected a folder, or tar shards, got a file")
        raise FileNotFoundError(f"data: there is no folder {folder}{' (--download fetches it)' if known else ''}")
    if (found := shard_files.parts(name)) is not None:
        forms["tar shards"] = Opened(name, found, photographs=True, size=224)
    if len(forms) > 1:
        raise DataError(f"{name}: expected data in one form, got {' and '.join(forms)}: give each a folder of its own")
    if not forms:
        return None
    ((form, opened),) = forms.items()
    opened.notes.extend(_folders_beside(folder, form))
    datasets = {part: it.dataset for part, it in opened.parts.items()}
    opened.findings.extend(of_classes(datasets, lambda part, label: f"{opened.parts[part].called}: {label!r:.200}"))
    return opened


def _folders_beside(folder: Path, form: str) -> list[str]:
    """A note about folders with images beside another form of data. DataError where those may be the data."""
    holding = [path for path in look(folder).folders if images_in([path])] if folder.is_dir() else []
    if not holding:
        return []
    names = ", ".join(f"{path.name}/" for path in holding[:5])
    if form == "tar shards" and len(holding) > 1:
        raise DataError(
            f"{folder}: expected data in one form, got tar shards and folders with images ({names}): name the shards "
            f'with "{folder}/*.tar", or give them a folder of their own'
        )
    return [f"{folder} holds {form}: the images in {names} are ignored"]


def _within(layout: class_folders.Layout, part: str) -> str:
    return f"{layout.parts[part].relative_to(layout.folder).as_posix()}/"


def _class_folders(layout: class_folders.Layout) -> Opened:
    if layout.parts and TRAIN not in layout.parts:
        names = ", ".join(_within(layout, part) for part in layout.parts)
        raise DataError(
            f"{layout.folder}: expected a folder train/ beside {names}, found none. If it is a class, rename it: it "
            "has the name of a part of a data set"
        )
    found = {part: class_folders.find(folder) for part, folder in (layout.parts or {TRAIN: layout.folder}).items()}
    if not found[TRAIN].pictures:
        loose = len(look(found[TRAIN].folder).images)
        others = Counter(path.suffix.lower() or "without a suffix" for path in look(found[TRAIN].folder).files)
        there = f"{loose:,} images without class folders" if loose else "none"
        if others and not loose:
            there += f", but files: {few([f'{number:,} {suffix}' for suffix, number in others.most_common()])}"
        raise DataError(f"{found[TRAIN].folder}: {class_folders.EXPECTED}; found {there}")
    classes = sorted(set().union(*(part.pictures for part in found.values())))
    called = {part: _within(layout, part) if layout.parts else str(layout.folder) for part in found}
    parts = {part: Part(called[part], class_folders.files(it, classes)) for part, it in found.items()}
    findings = [*layout.findings, *(finding for part in found.values() for finding in part.findings)]
    findings += of_classes(
        {part: it.dataset for part, it in parts.items()},
        lambda part, name: str(found[part].folder / name),
        folders=True,
    )
    passed_over: Counter[str] = sum((part.passed_over for part in found.values()), Counter())
    return Opened(os.fspath(layout.folder), parts, True, 224, findings, layout.notes, passed_over)


def _digits() -> Opened:
    """1,797 handwritten digits, 8x8 pixels, from the UCI repository (Alpaydin & Kaynak 1998)."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "digits: scikit-learn, which has them, is not installed (pip install 'alexnet-np[demo]')"
        ) from error
    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)  # 0 ... 16 in the file
    dataset = Arrays(images, digits.target, [str(digit) for digit in range(10)], lambda index: f"digits: image {index}")
    notes = []
    if Path(DIGITS).is_dir():
        notes = ["digits are scikit-learn's. For the folder of that name say ./digits"]
    return Opened(DIGITS, {TRAIN: Part(DIGITS, dataset)}, photographs=False, size=64, notes=notes)
