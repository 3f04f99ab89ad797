"""Whose class is whose: the labels of one data set as positions in the classes that a network knows."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np

from ..reading import printable
from .dataset import DataError, Dataset

FEW = 5  # names in a message
LINE = 100  # characters of a list of names


@dataclass(frozen=True)
class Matched:
    """``dataset`` with the network's classes and labels, matched ``by`` "name" or "position"; a ``note`` to tell."""

    dataset: Dataset
    by: str
    note: str | None = None


def are_numbers(classes: Sequence[str]) -> bool:
    """Whether the names are only the numbers from 0, in any order: those of classes that nobody has named."""
    return sorted(classes) == sorted(map(str, range(len(classes))))


def match(source: object, dataset: Dataset, known: Sequence[str] | None, num_classes: int) -> Matched:
    """The data set with labels that are positions in ``known``, the names of a network's ``num_classes`` classes.

    Names decide, in whatever order they stand. Only where ``known`` is None, or the classes of the data are just
    numbers and no name in ``known`` is one, positions do, and the note says so. The data may have some of the classes
    only. Raises DataError for names that the network does not know, and for numbers of classes that differ.
    """
    theirs = dataset.classes
    present = np.unique(dataset.labels).tolist()
    if known is not None:
        if list(known) == theirs:
            return Matched(dataset, "name")
        labels = positions(theirs, known)
        if unknown := [theirs[label] for label in present if labels[label] < 0]:
            if not are_numbers(theirs) or any(name.isdecimal() for name in known):
                advice = "name them as they were in training, or take other data"
                if are_numbers(known):
                    advice = "the network's have only numbers; evaluate --classes FILE names them, a line each"
                raise DataError(f"{source}: unknown classes {quoted(unknown)} (known are {quoted(known)}): {advice}")
        else:
            ours, others = Counter(known), Counter(labels)
            for label in present:
                if ours[known[labels[label]]] > 1 or others[labels[label]] > 1:
                    expected = "expected different names of all classes"
                    raise DataError(f"{source}: {expected}, got {theirs[label]!r:.200} more than once")
            part = f"{source} has {len(present)} of the {len(known)} classes" if len(present) < len(known) else None
            return Matched(_relabelled(dataset, labels, known), "name", part)
    if len(theirs) != num_classes:
        raise DataError(
            f"{source} has {len(theirs)} classes, but the network knows {num_classes}, and without names on both sides "
            "(classes.txt names those of IDX files and shards) nobody can tell which is which"
        )
    labels = list(map(int, theirs)) if are_numbers(theirs) else list(range(num_classes))
    if known is not None:
        names, nameless = list(known), f"{source} does"
    else:
        names, nameless = sorted(theirs, key=int) if are_numbers(theirs) else theirs, "the weights do"
    pairs = few([f"{number} is {printable(name)}" for number, name in enumerate(names)])
    note = f"classes are matched by position, because {nameless} not name them: {pairs}"
    return Matched(_relabelled(dataset, labels, names), "position", note)


def positions(names: Sequence[str], known: Sequence[str]) -> list[int]:
    """Where each name stands in ``known``; -1 where it does not.

    A name that does not stand there as it is, is looked for with its accents composed: macOS takes letters and accents
    of a file's name apart.
    """
    exact = {name: number for number, name in enumerate(known)}
    composed = {_composed(name): number for number, name in enumerate(known)}
    return [exact.get(name, composed.get(_composed(name), -1)) for name in names]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """The name without what people and file systems overlook: capitals, how accents are encoded, blanks around it."""
    return _composed(name).casefold().strip()


def quoted(names: Sequence[str]) -> str:
    """The first of many names, each in quotation marks."""
    return few([f"{name!r:.200}" for name in names])


def few(names: Sequence[str]) -> str:
    """The first of many names."""
    more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
    return ", ".join(names[:FEW]) + more


def in_a_line(names: Sequence[str]) -> str:
    """As many of the names as a line takes, the first at least, fit for a terminal."""
    shown, length = 0, 0
    while shown < len(names) and (not shown or length + len(names[shown]) <= LINE):
        length += len(names[shown]) + 2
        shown += 1
    more = f" and {len(names) - shown:,} more" if shown < len(names) else ""
    return ", ".join(f"{printable(name):.{LINE}}" for name in names[:shown]) + more


def _relabelled(dataset: Dataset, labels: Sequence[int], classes: Sequence[str]) -> Dataset:
    """The data set with its label k replaced by ``labels[k]``."""
    other = copy(dataset)
    Dataset.__init__(other, classes, np.array(labels, np.int64)[dataset.labels])
    return other
