"""Files that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, in a folder beside ``path``; renamed to it when all went well, removed when not.

    with written_whole("history.csv") as unfinished:
        unfinished.write_text(...)

    The bytes are on the disk before the name is, and the name before this returns: after a loss of power
    there is the old file or the new one. A process that is killed leaves the folder, for the next to clear:
    a file alone would not do, because some libraries write to another name and rename themselves.

    FileExistsError where a folder, a device or a pipe has the name: a file would replace even /dev/null.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a folder, a device or a pipe: name a file, or what does not exist yet")
    folder = path.with_name(f"{path.name}.part")
    unfinished = folder / path.name
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        unfinished.touch()
        mode = unfinished.stat().st_mode  # by the user's umask; some libraries make files that nobody else can read
        yield unfinished
        unfinished.chmod(mode)
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        rename(unfinished, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # a full disk does not say for which file
            error.filename = os.fspath(path)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those that it is in, unless they exist. OSError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: this folder cannot be made ({error})") from error


def rename(old: Path, new: Path) -> None:
    """Give a file or a folder, whose content is on the disk, its name; that is on the disk, too, when this returns."""
    os.replace(old, new)
    _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its file systems keep a journal of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
