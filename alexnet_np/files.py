"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, beside ``path``; renamed to it when all went well, removed when not.

    with written_whole("history.csv") as unfinished:
        unfinished.write_text(...)

    The bytes are on the disk before the name is, and the name before this returns: after a loss of power
    there is the old file or the new one.
    """
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        unfinished.touch()
        mode = unfinished.stat().st_mode  # by the user's umask; some libraries make files that nobody else can read
        yield unfinished
        unfinished.chmod(mode)
        with unfinished.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder; its file systems keep a journal of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
