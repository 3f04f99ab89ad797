"""What is wrong with a data set: one kind of record for all forms of data, and what the labels alone tell."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .classes import are_numbers, folded
from .dataset import Dataset
from .part_names import TRAIN


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. ``stops``: training refuses such data; it only warns of the rest.

    ``kind``: "data", "class", "ignored" (images that training ignores), "unreadable", "blank", "size", "duplicate",
    "label".
    """

    kind: str
    path: str
    text: str
    stops: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def of_classes(
    parts: Mapping[str, Dataset], where: Callable[[str, str], str], *, folders: bool = False
) -> list[Finding]:
    """Classes without images, in all parts or in some, and names that hardly differ.

    ``parts`` have the same classes. ``where`` names a class of a part for a person. Where classes are ``folders``,
    training refuses one without training images: who makes a folder means a class.
    """
    first = next(iter(parts))
    classes = parts[first].classes
    numbers = {part: np.bincount(dataset.labels, minlength=len(classes)) for part, dataset in parts.items()}
    from_one = are_numbers(classes)
    found = []
    for label, name in enumerate(classes):
        there = [part for part in parts if numbers[part][label]]
        if not there:
            hint = " (labels count from 0: do yours count from 1?)" if from_one and label == 0 else ""
            found.append(Finding("class", where(first, name), f"is a class without an image{hint}", stops=folders))
        elif TRAIN in parts and TRAIN not in there:
            text = "is a class that the training set lacks"
            found.append(Finding("class", where(there[0], name), text, stops=folders))
        else:
            lacking = [part for part in parts if part not in there]
            found += [
                Finding("class", where(there[0], name), f"is a class that the {part} set lacks") for part in lacking
            ]
    return found + _hardly_different(classes, lambda name: where(first, name))


def _hardly_different(classes: Sequence[str], where: Callable[[str], str]) -> list[Finding]:
    seen: dict[str, str] = {}
    found = []
    for name in classes:
        same = seen.setdefault(folded(name), name)
        if same != name:
            text = f"differs only in capitals, accents' encoding or blanks from the class {same!r:.200}"
            found.append(Finding("class", where(name), text))
    return found
