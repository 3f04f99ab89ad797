"""Files in folders, at any depth: each folder is entered once, and only what is a file is handed on."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .dataset import DataError
from .findings import Finding
from .images import SUFFIXES

Identity = tuple[int, int | str]  # of a folder: its device and its number there, or its path where there are no numbers


@dataclass(frozen=True)
class Inside:
    """What is directly in a folder, hidden things apart; each in alphabetical order, links to folders last."""

    folders: list[Path]
    files: list[Path]
    odd: list[Path]  # pipes, sockets, devices

    @property
    def images(self) -> list[Path]:
        return [path for path in self.files if is_picture(path)]

    def named(self, suffix: str) -> list[Path]:
        """All with this suffix, in small letters or capitals; also what is no file, for someone to say so."""
        return [path for path in sorted(self.files + self.odd + self.folders) if path.suffix.lower() == suffix]


def look(folder: Path) -> Inside:
    """DataError where the folder cannot be read."""
    folders: list[tuple[bool, Path]] = []
    files: list[Path] = []
    odd: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                path = folder / entry.name
                if entry.is_dir():
                    folders.append((entry.is_symlink(), path))
                else:
                    (files if entry.is_file() or _is_broken_link(entry) else odd).append(path)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error
    return Inside([path for _, path in sorted(folders)], sorted(files), sorted(odd))


def is_hidden(name: str) -> bool:
    return name.startswith(".")


def is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def identity(folder: Path) -> Identity:
    """The same for all names of a folder. DataError where it cannot be looked at."""
    try:
        found = folder.stat()
        return found.st_dev, found.st_ino or os.path.realpath(folder)
    except OSError as error:
        raise DataError(f"{folder}: the folder cannot be read ({error.strerror})") from error


def is_regular(path: Path) -> bool:
    """Whether this is a file with an end: a pipe or a device may have none. A link counts as what it leads to."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _is_broken_link(entry: os.DirEntry[str]) -> bool:
    """Or one that leads to itself: whoever opens it will say so."""
    return entry.is_symlink() and not os.path.exists(entry.path)


@dataclass
class Walk:
    """Goes through folders and remembers which it has entered; ``findings`` has what it left out."""

    entered: dict[Identity, Path] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def enter(self, folder: Path) -> bool:
        """Whether the folder is a new one. A link to one that was entered is none, and is noted."""
        first = self.entered.setdefault(identity(folder), folder)
        if first is not folder:
            self.findings.append(Finding("ignored", str(folder), f"is the same folder as {first}: it is entered once"))
        return first is folder

    def files(self, folder: Path) -> Iterator[Path]:
        """The files at any depth in a folder that was entered. DataError."""
        waiting = [folder]
        while waiting:
            inside = look(waiting.pop())
            for path in inside.odd:
                if is_picture(path):
                    self.findings.append(Finding("ignored", str(path), "is no file but a pipe, a socket or a device"))
            yield from inside.files
            waiting += reversed([path for path in inside.folders if self.enter(path)])


def images_in(folders: Sequence[Path]) -> int:
    """How many images there are in these folders, at any depth."""
    walk = Walk()
    return sum(is_picture(file) for folder in folders if walk.enter(folder) for file in walk.files(folder))
