"""What Pillow and libtiff remark about an image while it is read: heard, and not printed with lines of their source.

Images are read by several threads at once, and ``warnings.catch_warnings`` changes the whole process. So Pillow's
modules get a stand-in for the module ``warnings``: inside ``hearing`` it keeps what the thread's own image caused, and
elsewhere it warns as ever. libtiff, in C, prints its errors; it gets a handler that keeps them, too.
"""

import ctypes
import logging
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

_MODULES: tuple[ModuleType, ...] = (
    Image,
    ImageFile,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)


class _Thread(threading.local):
    heard: set[str] | None = None  # None outside of ``hearing``


_thread = _Thread()


@contextmanager
def hearing() -> Iterator[set[str]]:
    """The kinds of remarks about what this thread reads inside; also those of a block inside this one."""
    _install()
    outer, _thread.heard = _thread.heard, set()
    heard = _thread.heard
    try:
        yield heard
    finally:
        _thread.heard = outer
        if outer is not None:
            outer |= heard


def counted(remarks: Iterable[Iterable[str]]) -> dict[str, int]:
    """On how many images there was each kind of remark; ``remarks`` are those on each."""
    return dict(Counter(kind for kinds in remarks for kind in set(kinds)))


def _kind(message: str) -> str:
    """The first sentence, without what differs from image to image: numbers, and places for them in C's formats."""
    message = re.sub(r"%[^a-zA-Z]*(l{0,2}|h{0,2}|z|j)[a-zA-Z]|\d+", "...", re.sub(r"\s+", " ", message))
    return re.split(r"(?<!\.\.)[.:;] ", message)[0].strip(" .,:;")


class _Warnings:
    """The module ``warnings``, as Pillow's modules see it."""

    def warn(
        self,
        message: Any,
        category: type[Warning] | None = None,
        stacklevel: int = 1,
        source: Any = None,
        **others: Any,
    ) -> None:
        if _thread.heard is None:
            warnings.warn(message, category, stacklevel + 1, source, **others)
        elif category is not Image.DecompressionBombWarning:  # images.py has limits of its own
            _thread.heard.add(_kind(str(message)))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


@cache
def _install() -> None:
    stand_in = _Warnings()
    for module in _MODULES:
        if hasattr(module, "warnings"):
            module.warnings = stand_in  # type: ignore[attr-defined]
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # without any handler Python prints errors
    with suppress(AttributeError, OSError):  # where Pillow was built without libtiff, or holds it inside itself
        library = ctypes.CDLL(import_module("PIL._imaging").__file__)
        library.TIFFSetErrorHandler.restype = ctypes.c_void_p
        library.TIFFSetErrorHandler(_libtiff_error)


@ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
def _libtiff_error(place: bytes | None, message: bytes | None, _: Any) -> None:
    """``message`` is a format, whose arguments are left alone; ``place`` is a function's name."""
    if _thread.heard is not None:
        texts = [_kind((text or b"").decode("ascii", "replace")) for text in (message, place)]
        _thread.heard.add(f"libtiff: {texts[0] or texts[1] or 'an error'}")
