"""A lock on the folder of a run, so that two processes never train in it at once.

    runs/digits/training.lock       process 4711 on this-machine, since 2026-01-31 12:00:00

The operating system locks this open file for the process, and unlocks it when the process ends, however it ends. The
file that a killed process leaves is not locked: the next process takes it over.
"""

import os
import socket
import sys
from contextlib import suppress
from datetime import datetime
from errno import EACCES, EAGAIN
from pathlib import Path
from typing import Self

NAME = "training.lock"
HELD = (EACCES, EAGAIN)  # the error where another process holds a lock: EACCES on Windows


class FolderInUseError(OSError):
    """Another process trains in this folder; the message says which."""


class FolderGoneError(Exception):
    """The folder of a run was deleted, moved or replaced during the run; nothing is to be written there any more."""


class RunLock:
    """Lock an existing folder. FolderInUseError where another process has locked it; nothing is changed then.

    ``problem`` says why a folder could not be locked: it is read-only, or its file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.problem: str | None = None
        self.gone = False  # see check
        self._stat = folder.stat()
        self._descriptor: int | None = None
        try:
            self._acquire()
        except FolderInUseError:
            raise
        except OSError as error:
            self.problem = f"{folder} cannot be locked ({error}): make sure that no other process trains in it"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Unlock the folder, and remove the lock's file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if sys.platform == "win32":  # it removes no open file
            os.close(descriptor)
            with suppress(OSError):
                self.path.unlink()
        else:  # it is removed while it is locked: so no other process locks a file that is about to go
            with suppress(OSError):
                if _names(self.path, descriptor):
                    self.path.unlink()
            os.close(descriptor)

    def check(self) -> None:
        """FolderGoneError where the folder is not there any more, or another one is in its place."""
        self.gone = self.gone or self._has_gone()
        if self.gone:
            raise FolderGoneError(
                f"{self.folder}: the folder of this run was deleted, moved or replaced. The training stops, and writes "
                "nothing more. If the folder was moved: alexnet-np train --resume NEW_PLACE"
            )

    def _has_gone(self) -> bool:
        try:
            # The file tells more than the folder: some network file systems give a folder a new number now and then.
            if self._descriptor is not None and self.path.exists():
                return not _names(self.path, self._descriptor)
            return not os.path.samestat(self.folder.stat(), self._stat)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # the file system does not answer: that says nothing of the folder
            return False

    def _acquire(self) -> None:
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(descriptor)
            except OSError as error:
                if error.errno not in HELD:
                    self._descriptor = descriptor  # not locked; its file is removed at the end
                    raise
                os.lseek(descriptor, 0, os.SEEK_SET)
                holder = ascii(os.read(descriptor, 200).decode(errors="replace") or "another process")[1:-1]
                os.close(descriptor)
                advice = "wait until that has ended, or take another folder"
                raise FolderInUseError(f"{self.folder} is in use by {holder}: {advice}") from error
            if _names(self.path, descriptor):
                self._descriptor = descriptor
            else:  # the process that held it has just removed it: lock the file that is there now
                os.close(descriptor)
        since = datetime.now().isoformat(" ", "seconds")
        with suppress(OSError):  # a full disk: the folder is locked all the same
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {since}".encode())


def _names(path: Path, descriptor: int) -> bool:
    """Whether a path still names this open file."""
    if sys.platform == "win32":  # where an open file cannot be removed or renamed
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> None:
    """Lock an open file until it is closed; OSError at once where that fails."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(descriptor, 1 << 20, os.SEEK_SET)  # a byte after the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
