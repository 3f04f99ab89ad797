"""How this book compiles: Numba without the GIL, kept on disk for the next process.

The folder of compiled code is named by a hash of the book's sources: Numba looks only at the file of
a function itself, and would reuse it after a change in a function that it calls (numba#1833).
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable
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
        folder = base / "alexnet_np" / digest.hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def _bases() -> list[Path]:
    chosen = numba.config.CACHE_DIR
    if chosen:
        return [Path(chosen)]
    home = Path(os.path.expanduser("~"))
    user = {"darwin": home / "Library/Caches", "win32": Path(os.environ.get("LOCALAPPDATA", home))}.get(
        sys.platform, Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    )
    return [user, Path(tempfile.gettempdir())]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile for the types of its first call. Division follows C: a zero divisor is the caller's fault."""
    return _compiled(function)


def inner(function: Callable[..., Any]) -> Any:
    """The same for functions that only compiled ones call: without the wrapper that Python would need."""
    return _compiled(function, no_cpython_wrapper=True)


def _compiled(function: Callable[..., Any], **options: Any) -> Any:
    folder = cache_folder()
    before = numba.config.CACHE_DIR
    try:
        numba.config.CACHE_DIR = str(folder or "")  # read while the decorator runs, and not after
        return numba.njit(nogil=True, error_model="numpy", no_cfunc_wrapper=True, cache=folder is not None, **options)(
            function
        )
    finally:
        numba.config.CACHE_DIR = before
