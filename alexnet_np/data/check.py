"""What is wrong with a data set, found before a training run stumbles over it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from . import class_folders, images, sources
from .dataset import Arrays, DataError, Dataset, split
from .images import PictureError
from .parallel import in_order

SMALLEST = 32  # pixels of a side: below that a network sees more of the resizing than of the picture
NARROWEST = 4  # times as long as wide: of a longer one the square in the middle is less than a quarter


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``kind``: "data", "class", "unreadable", "size", "duplicate", "label"."""

    kind: str
    path: str
    text: str


@dataclass(frozen=True)
class Report:
    """What there is, ``pictures`` in each part and ``classes``, and what is wrong.

    Not wrong, but worth knowing: how many pictures are ``converted`` when they are read, and why; how many files
    are ``passed_over``, being no pictures by their suffix.
    """

    pictures: dict[str, int]
    classes: list[str]
    findings: list[Finding]
    converted: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True)
class _Look:
    """What one picture showed."""

    digest: bytes | None
    findings: list[Finding]
    oddities: list[str]


def check(
    source: str | os.PathLike[str], progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda looks, _: looks
) -> Report:
    """Look at every picture of what ``load`` takes; FileNotFoundError without it.

    ``progress`` is given what there is to go through and how long it is, and hands it on.
    """
    try:
        parts, findings, passed_over = _parts(source)
    except DataError as error:
        return Report({}, [], [Finding("data", os.fspath(source), str(error))])

    converted: Counter[str] = Counter()
    first: dict[bytes, tuple[str, int]] = {}  # the part and the position where a content was first seen
    places = [(name, index) for name, dataset in parts.items() for index in range(len(dataset))]
    looks = in_order(lambda place: _look(parts[place[0]], place[1]), places)
    for (name, index), look in zip(places, progress(looks, len(places)), strict=True):
        findings += look.findings
        converted.update(look.oddities)
        if look.digest is not None:
            findings += _repeated(parts, name, index, *first.setdefault(look.digest, (name, index)))
    classes = next(iter(parts.values())).classes
    numbers = {name: len(dataset) for name, dataset in parts.items()}
    return Report(numbers, classes, findings, dict(converted), dict(passed_over))


def _parts(source: str | os.PathLike[str]) -> tuple[dict[str, Dataset], list[Finding], Counter[str]]:
    """The training and the test set, what is wrong with their classes, and suffixes of files that are passed over."""
    if not sources.is_class_folders(source):
        data = sources.load(source)
        return {"train": data.train, "test": data.test}, [], Counter()

    train, test = class_folders.find_parts(Path(source))
    found = {"train": train} | ({"test": test} if test else {})
    findings = [
        Finding("class", str(part.folder / label), "holds no picture")
        for part in found.values()
        for label, paths in part.pictures.items()
        if not paths
    ]
    classes = sorted(set().union(*(part.pictures for part in found.values())))
    if len(classes) < 2:
        findings.append(Finding("class", str(train.folder), f"expected at least 2 classes, got {len(classes)}"))
    if test:
        for label in classes:
            if label not in train.pictures:
                findings.append(Finding("class", str(test.folder / label), "is a class that the training set lacks"))
            elif label not in test.pictures:
                findings.append(Finding("class", str(train.folder / label), "is a class that the test set lacks"))
    parts: dict[str, Dataset] = {name: class_folders.files(part, classes) for name, part in found.items()}
    if not test:
        try:
            parts["train"], parts["test"] = split(parts["train"])
        except DataError as error:
            findings.append(Finding("class", str(train.folder), str(error)))
    return parts, findings, sum((part.passed_over for part in found.values()), Counter())


def _look(dataset: Dataset, index: int) -> _Look:
    try:
        content = dataset.content(index)
    except (OSError, PictureError) as error:
        return _Look(None, [_unreadable(dataset, index, error)], [])
    digest = blake2b(content, digest_size=16).digest()
    if isinstance(dataset, Arrays):  # nothing to decode, and all of one size
        return _Look(digest, [], [])
    try:
        H, W, _ = images.decode(content, dataset.where(index)).shape
    except PictureError as error:
        return _Look(None, [_unreadable(dataset, index, error)], [])
    findings = []
    if min(H, W) < SMALLEST:
        findings.append(Finding("size", dataset.where(index), f"{W}x{H} pixels: smaller than {SMALLEST}"))
    elif max(H, W) > NARROWEST * min(H, W):
        findings.append(
            Finding("size", dataset.where(index), f"{W}x{H} pixels: more than {NARROWEST} times as long as wide")
        )
    return _Look(digest, findings, images.oddities(content))


def _unreadable(dataset: Dataset, index: int, error: Exception) -> Finding:
    return Finding("unreadable", dataset.where(index), error.reason if isinstance(error, PictureError) else str(error))


def _repeated(parts: dict[str, Dataset], name: str, index: int, other_name: str, other: int) -> list[Finding]:
    """What is wrong with a picture whose content was first seen in another place."""
    dataset, before = parts[name], parts[other_name]
    where, same = dataset.where(index), f"the same as {before.where(other)}"
    if name != other_name:
        return [Finding("duplicate", where, f"is in the test set, and {same} in the training set")]
    if dataset.labels[index] != before.labels[other]:
        labels = (dataset.classes[dataset.labels[index]], before.classes[before.labels[other]])
        return [Finding("label", where, f"is of class {labels[0]}, but {same} of class {labels[1]}")]
    return []
