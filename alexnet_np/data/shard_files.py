"""Which files are the shards of a data set, and which part each of them is of."""

import re
from collections.abc import Iterable, Iterator, Sequence
from glob import glob
from pathlib import Path

from .dataset import DataError, Part, class_names
from .folders import is_regular, look
from .part_names import TRAIN, folder_parts, part_in
from .shards import open_shards

TAR = ".tar"


def is_pattern(source: str) -> bool:
    """Whether this is the name of a shard, or of many: train-{000..099}.tar, shards/*.tar."""
    return source.lower().endswith(TAR) or any(character in source for character in "{*?[")


def find(source: str) -> list[Path]:
    """The shards of a pattern, with braces and wildcards, or of a folder: in it, or in its folders of parts.

    FileNotFoundError for a pattern without a file, DataError for what is no file.
    """
    folder = Path(source)
    if folder.is_dir():
        inside = look(folder)
        paths = inside.named(TAR)
        parts = folder_parts(path.name for path in inside.folders)
        within = [path for place in inside.folders if place.name in parts for path in look(place).named(TAR)]
        if paths and within:
            raise DataError(
                f"{folder}: expected all shards in one place, got {paths[0].name} and {within[0]}: move them"
            )
        paths += within
    else:
        paths = []
        for pattern in expand_braces(source):
            found = sorted(glob(pattern, recursive=True))
            if not found:
                raise FileNotFoundError(f"data: there is no file {pattern}")
            paths += map(Path, found)
    for path in paths:
        if not is_regular(path):
            raise DataError(f"{path}: expected a tar file, got a folder, a pipe, a device or a broken link")
    return list(dict.fromkeys(paths))


def expand_braces(pattern: str) -> Iterator[str]:
    """As a shell does: {000..002} and {a,b}. One after the other, because there may be very many."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        yield pattern
        return
    alternatives: Iterable[str] = match[1].split(",")
    if numbers := re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", match[1]):
        first, last = numbers.groups()
        if int(first) > int(last):
            raise DataError(f"{pattern!r:.200}: expected numbers that rise in braces, got {match[0]}")
        alternatives = (str(n).zfill(len(first)) for n in range(int(first), int(last) + 1))
    before, after = pattern[: match.start()], pattern[match.end() :]
    for middle in alternatives:
        yield from expand_braces(before + middle + after)


def parts(source: str) -> dict[str, Part] | None:
    """Training, validation and test part of a folder or a pattern; None where there are no shards.

    Names of shards say the part (part_names.py), or else those of their folders where the shards lie in several, or
    deeper than ``source``. Where no name says anything, all are for training. DataError where only some do.
    """
    paths = find(source)
    if not paths:
        return None
    folders = {path.parent for path in paths}
    deeper = len(folders) > 1 or (Path(source).is_dir() and folders != {Path(source)})
    told: dict[str | None, list[Path]] = {}
    for path in paths:
        told.setdefault(_part_of(path, deeper), []).append(path)
    if None in told and len(told) > 1:
        other = next(path for part, those in told.items() if part for path in those)
        raise DataError(
            f"{told[None][0]}: expected a name that says the part of the data (train, val, test), as {other} has"
        )
    named = {part or TRAIN: those for part, those in told.items()}
    order = sorted(named, key=lambda part: part != TRAIN)  # whose classes the others have
    first = named[order[0]][0].parent
    classes = class_names(first) or (class_names(first.parent) if deeper else None)
    found: dict[str, Part] = {}
    for part in order:
        dataset = open_shards(named[part], classes)
        classes = dataset.classes
        found[part] = Part(_called(named[part]), dataset)
    return found


def _part_of(path: Path, deeper: bool) -> str | None:
    by_name, by_folder = part_in(path.name), part_in(path.parent.name) if deeper else None
    if by_name and by_folder and by_name != by_folder:
        raise DataError(
            f"{path}: its name says the {by_name} part, its folder the {by_folder} part: rename one of them"
        )
    return by_name or by_folder


def _called(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} to {paths[-1].name}"
