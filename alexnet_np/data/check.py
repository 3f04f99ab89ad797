"""What is wrong with a data set, found before a training run stumbles over it."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from . import images, sources
from .dataset import Arrays, DataError, Dataset
from .findings import Finding
from .images import PictureError
from .parallel import in_order
from .remarks import hearing

SMALLEST = 32  # pixels of a side: below that a network sees more of the resizing than of the image
NARROWEST = 4  # times as long as wide: of a longer one the square in the middle is less than a quarter
ROWS = 64  # of an image that are compared at a time


@dataclass(frozen=True)
class Report:
    """What there is, ``pictures`` in each part and ``classes``, and what is wrong.

    Not wrong, but worth knowing: how many images are ``converted`` when they are read, and why; what Pillow or libtiff
    remarked on how many of them; how many files are ``passed_over``, by suffix; ``notes`` about what was decided.
    """

    pictures: dict[str, int]
    classes: list[str]
    findings: list[Finding]
    converted: dict[str, int] = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)
    passed_over: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(frozen=True)
class _Look:
    """What one image showed."""

    digest: bytes | None
    findings: list[Finding]
    oddities: list[str] = field(default_factory=list)
    remarks: set[str] = field(default_factory=set)


def check(
    source: str | os.PathLike[str], progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda looks, _: looks
) -> Report:
    """Look at every image of what ``load`` takes, in whatever form; FileNotFoundError without it.

    ``progress`` is given what there is to go through and how long it is, and hands it on.
    """
    try:
        opened = sources.open_source(source)
    except DataError as error:
        return Report({}, [], [Finding("data", os.fspath(source), str(error), stops=True)])
    findings = list(opened.findings)
    try:
        parts = opened.datasets()
    except DataError as error:  # too few classes, or images to hold some out: what there is, is looked at
        findings.append(Finding("data", opened.source, str(error), stops=True))
        parts = {part: it.dataset for part, it in opened.parts.items()}

    converted: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    first: dict[bytes, tuple[str, int]] = {}  # the part and the position where a content was first seen
    places = [(name, index) for name, dataset in parts.items() for index in range(len(dataset))]
    looks = in_order(lambda place: _look(parts[place[0]], place[1]), places)
    for (name, index), look in zip(places, progress(looks, len(places)), strict=True):
        findings += look.findings
        converted.update(look.oddities)
        remarks.update(look.remarks)
        if look.digest is not None:
            findings += _repeated(parts, name, index, *first.setdefault(look.digest, (name, index)))
    return Report(
        {name: len(dataset) for name, dataset in parts.items()},
        next(iter(parts.values())).classes,
        findings,
        dict(converted),
        dict(remarks),
        dict(opened.passed_over),
        list(opened.notes),
    )


def _look(dataset: Dataset, index: int) -> _Look:
    where = dataset.where(index)
    try:
        content = dataset.content(index)
        digest = blake2b(content, digest_size=16).digest()
        if isinstance(dataset, Arrays):  # nothing to decode, and all of one size
            return _Look(digest, _blank(dataset.images[index], where))
        with hearing() as heard:
            image = images.decode(content, where)
            oddities = images.oddities(content)
    except (OSError, PictureError) as error:
        reason = error.reason if isinstance(error, PictureError) else str(error)
        return _Look(None, [Finding("unreadable", where, reason)])
    return _Look(digest, _size(image, where) + _blank(image, where), oddities, heard)


def _size(image: np.ndarray, where: str) -> list[Finding]:
    H, W, _ = image.shape
    if min(H, W) < SMALLEST:
        return [Finding("size", where, f"{W}x{H} pixels: smaller than {SMALLEST}")]
    if max(H, W) > NARROWEST * min(H, W):
        return [Finding("size", where, f"{W}x{H} pixels: more than {NARROWEST} times as long as wide")]
    return []


def _blank(image: np.ndarray, where: str) -> list[Finding]:
    """``image`` (H, W) or (H, W, 3). A few rows at a time: of most images the first few tell."""
    first = image[:1, :1]
    if all((image[top : top + ROWS] == first).all() for top in range(0, len(image), ROWS)):
        colour = np.ravel(first).tolist()
        return [Finding("blank", where, f"has one colour only, {colour[0] if len(set(colour)) == 1 else colour}")]
    return []


def _repeated(parts: dict[str, Dataset], name: str, index: int, other_name: str, other: int) -> list[Finding]:
    """What is wrong with an image whose content was first seen in another place."""
    dataset, before = parts[name], parts[other_name]
    where, same = dataset.where(index), f"the same as {before.where(other)}"
    if name != other_name:
        sets = {"train": "training"}
        text = f"is in the {sets.get(name, name)} set, and {same} in the {sets.get(other_name, other_name)} set"
        return [Finding("duplicate", where, text)]
    if dataset.labels[index] != before.labels[other]:
        labels = (dataset.classes[dataset.labels[index]], before.classes[before.labels[other]])
        return [Finding("label", where, f"is of class {labels[0]}, but {same} of class {labels[1]}")]
    return []
