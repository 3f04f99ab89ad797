"""Which part of a data set a name says: the one place that knows these names, for folders, shards and IDX files.

    training        train, training, trainval
    validation      val, valid, validation, dev
    test            test, testing, t10k

Case does not matter. Words are separated by "-", "_", ".", blanks or digits: Train, train2017, seg_test, val-000.tar.
"""

import re
from collections import Counter
from collections.abc import Iterable

from .dataset import DataError

TRAIN, VALIDATION, TEST = "training", "validation", "test"
PARTS = {
    TRAIN: ("train", "training", "trainval"),
    VALIDATION: ("val", "valid", "validation", "dev"),
    TEST: ("test", "testing", "t10k"),
}
THINGS = ("data", "dataset", "folder", "image", "img", "part", "photo", "picture", "sample", "seg", "set", "split")
DECORATIONS = frozenset([*THINGS, *(f"{thing}s" for thing in THINGS)])
WORD = re.compile(r"t10k|[^\W\d_]+")
JOINED = re.compile(rf"({'|'.join(sorted(sum(PARTS.values(), ()), key=len, reverse=True))})({'|'.join(DECORATIONS)})")


def part_in(name: str) -> str | None:
    """The part that a word of this name says, wherever it stands; None where no word does. DataError for two parts."""
    parts, _ = _read(name)
    if len(parts) > 1:
        raise DataError(
            f"{name!r:.200}: the name says two parts of a data set, {' and '.join(sorted(parts))}: rename it"
        )
    return next(iter(parts), None)


def folder_parts(names: Iterable[str]) -> dict[str, str]:
    """The part that each of these folders beside each other says; folders of classes are not in the result. DataError.

    A folder says a part where nothing else stands in its name (``DECORATIONS`` do not matter), or where another
    folder has the same name but for the part: imagenet_train and imagenet_val do, a class called bullet_train does not.
    """
    found = {name: (part, _read(name)[1]) for name in names if (part := _only_part_in(name)) is not None}
    rests = Counter(rest for _, rest in set(found.values()))  # how many parts have this rest of a name
    return {name: part for name, (part, rest) in found.items() if not rest or rests[rest] > 1}


def _only_part_in(name: str) -> str | None:
    parts, rest = _read(name)
    return part_in(name) if len(parts) == 1 or not rest else None  # a class may be called test_and_train_of_engines


def _read(name: str) -> tuple[set[str], tuple[str, ...]]:
    """The parts that words of the name say, and the other words, less decorations."""
    parts, rest = set(), []
    for word in WORD.findall(name.casefold()):
        if joined := JOINED.fullmatch(word):  # trainset
            word = joined[1]
        said = next((part for part, words in PARTS.items() if word in words), None)
        if said is not None:
            parts.add(said)
        elif word not in DECORATIONS:
            rest.append(word)
    return parts, tuple(rest)
