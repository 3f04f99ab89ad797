"""How this book compiles: Numba without the GIL, kept on disk for the next process.

The folder of compiled code is named by a hash of the book's sources: Numba looks only at the file of
a function itself, and would reuse it after a change in a function that it calls (numba#1833).
"""

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba


@cache
def cache_folder() -> Path | None:
    """Where compiled code is kept; None where no folder can be written.

    NUMBA_CACHE_DIR where it is set, else the user's cache folder, else the temporary one.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for base in _bases():
        folder = base / digest.hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _bases() -> Iterator[Path]:
    # With a hyphen, so that Python never takes the folder for the package: programs are started in temporary folders.
    name = "alexnet-np"
    chosen = numba.config.CACHE_DIR
    if chosen:
        yield Path(chosen) / name
        return
    home = Path(os.path.expanduser("~"))
    user = {"darwin": home / "Library/Caches", "win32": Path(os.environ.get("LOCALAPPDATA", home))}.get(
        sys.platform, Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    )
    yield user / name
    yield from _own_temporary_folder(name)


def _own_temporary_folder(name: str) -> Iterator[Path]:
    """A folder in the temporary one that nobody else can write to: compiled code is run as it is found."""
    if not hasattr(os, "getuid"):
        yield Path(tempfile.gettempdir()) / name
        return
    folder = Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
        yield folder


def compiled(function: Callable[..., Any]) -> Any:
    """Compile for the types of its first call. Division follows C: a zero divisor is the caller's fault."""
    return _compiled(function)


def brief(function: Callable[..., Any]) -> Any:
    """The same for a few instructions: it keeps the GIL, which would cost more to hand over than they take."""
    return _compiled(function, nogil=False)


def inner(function: Callable[..., Any]) -> Any:
    """The same for functions that only compiled ones call: without the wrapper that Python would need."""
    return _compiled(function, no_cpython_wrapper=True)


def _compiled(function: Callable[..., Any], nogil: bool = True, **options: Any) -> Any:
    folder = cache_folder()
    before = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(folder or "")  # read while the decorator runs, and not after
        return numba.njit(nogil=nogil, error_model="numpy", no_cfunc_wrapper=True, cache=folder is not None, **options)(
            function
        )
    finally:
        numba.config.CACHE_DIR = before
