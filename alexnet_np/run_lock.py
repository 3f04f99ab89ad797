"""A lock on the folder of a run: two processes that trained in one would overwrite each other's files.

    runs/digits/training.lock       process 4711 on this-machine, since 2026-01-31 12:00:00

The lock is the kernel's, on that open file. So it ends with its process, however that ends; the file that a kill leaves
locks nothing, and the next process takes it over.
"""

import os
import socket
import sys
from contextlib import suppress
from datetime import datetime
from errno import EACCES, EAGAIN, EDEADLK
from pathlib import Path
from typing import Self

NAME = "training.lock"
HELD = (EACCES, EAGAIN, EDEADLK)  # what systems say of a lock that another process holds


class FolderInUseError(OSError):
    """Another process trains in this folder; the message says which."""


class FolderGoneError(Exception):
    """The folder of a run was deleted or moved while the run went on; nothing is to be written there any more."""


class RunLock:
    """Lock an existing folder; FolderInUseError where another process has locked it, and then nothing is changed.

    ``problem`` says why a folder could not be locked: it may only be read, or its file system knows no locks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.problem: str | None = None
        self.gone = False  # see check
        self._stat = folder.stat()
        since = datetime.now().isoformat(" ", "seconds")
        self._holder = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
        self._descriptor: int | None = None
        try:
            self._descriptor = self._acquire()
        except FolderInUseError:
            raise
        except OSError as error:
            self.problem = f"{folder} cannot be locked ({error}): see to it that no other process trains in it"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock; its file goes, too."""
        if self._descriptor is None:
            return
        if sys.platform == "win32":  # which removes no open file
            os.close(self._descriptor)
        if _content(self.path) == self._holder:
            with suppress(OSError):
                self.path.unlink()
        if sys.platform != "win32":  # only now: nobody may lock a file that is about to go
            os.close(self._descriptor)
        self._descriptor = None

    def check(self) -> None:
        """FolderGoneError where the folder is not there any more, or is another run's by now."""
        self.gone = self.gone or self._is_gone()
        if self.gone:
            raise FolderGoneError(
                f"{self.folder}: the folder of this run was deleted, moved or replaced while it went on: the training "
                "is stopped, and nothing is written any more (where it was moved to: alexnet-np train --resume there)"
            )

    def _is_gone(self) -> bool:
        try:
            now = self.folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # a file system that does not answer says nothing of the folder
            return False
        if self._descriptor is None:
            return False
        # Some network file systems number a folder anew: the file of the lock, where there is one, tells more.
        holder = _content(self.path)
        return not os.path.samestat(now, self._stat) if holder is None else holder != self._holder

    def _acquire(self) -> int:
        while True:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(descriptor)
                if _is_at(descriptor, self.path):
                    os.truncate(descriptor, 0)
                    os.write(descriptor, self._holder.encode())
                    return descriptor
            except OSError as error:
                os.close(descriptor)
                if error.errno in HELD:
                    raise _in_use(self.folder) from error
                raise
            os.close(descriptor)  # it was released, and its file removed, before we had it


def raise_if_in_use(folder: Path) -> None:
    """FolderInUseError where another process trains in this folder."""
    path = folder / NAME
    with suppress(FileNotFoundError, PermissionError):
        descriptor = os.open(path, os.O_RDWR)
        try:
            _lock(descriptor)
        except OSError as error:
            if error.errno in HELD:
                raise _in_use(folder) from error
        finally:
            os.close(descriptor)


def _in_use(folder: Path) -> FolderInUseError:
    holder = ascii(_content(folder / NAME) or "another process")[1:-1]
    return FolderInUseError(f"{folder} is in use by {holder:.200}: wait until that has ended, or take another folder")


def _content(path: Path) -> str | None:
    """What a file of a lock says; None where there is none, or it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(1000).decode(errors="replace")
    except OSError:
        return None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether this path still names the open file."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise OSError at once; it is released when the file is closed."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # of a byte behind the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
