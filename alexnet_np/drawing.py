"""Figures as PNG files, whatever the machine's settings, fonts and the names of classes are.

    letters = Letters([title, *names])
    with figure(path, title, (13, 8), letters) as drawn:
        drawn.subplots().set_title(letters.text(names[0]))

pyplot is never used, so no backend of a notebook and no screen matters. Names are text, not mathematics: "$1" is drawn
as it stands. Letters that matplotlib's own font lacks come from the machine's fonts; where those lack them too, their
code is drawn, as in "\\u732b".
"""

import logging
import os
import sys
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .files import written_whole

INK, GREY = "#222222", "#8a8a8a"
FONT = "DejaVu Sans"  # comes with matplotlib
NO_FONT = "Last Resort"  # a box for every letter there is
STYLE: Any = {
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


class Letters:
    """How names are drawn: ``fonts``, families of which each gives what those before it lack."""

    def __init__(self, names: Iterable[str]) -> None:
        letters = {letter for name in names for letter in unicodedata.normalize("NFC", name)}
        self.fonts, self.missing = _fonts_for({letter for letter in letters if letter.isprintable()})

    def text(self, name: str) -> str:
        """The name, with codes for letters that no font has, and for control characters."""
        name = unicodedata.normalize("NFC", name)  # macOS keeps an accent apart from its letter
        codes = {ord(letter): _code(letter) for letter in name if letter in self.missing or not letter.isprintable()}
        return name.translate(codes)


def shorten(name: str, width: int = 18) -> str:
    """The beginning of a name that is too long; Chinese, Japanese and Korean letters and emoji take two places."""
    places = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name]
    if sum(places) <= width:
        return name
    kept = len(name)
    while sum(places[:kept]) > width - 3:
        kept -= 1
    return f"{name[:kept]}..."


@contextmanager
def figure(
    path: str | os.PathLike[str], title: str, inches: tuple[float, float], letters: Letters, dpi: int = 120
) -> Iterator[Any]:
    """An empty figure with a title; what is drawn on it is saved at the end, whole or not at all.

    A failure of matplotlib may raise any exception: see ``missing``.
    """
    _import_matplotlib()
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not by the user's matplotlibrc, which may ask for LaTeX; and without warnings, which no reader of a figure needs.
    with style.context([STYLE, {"font.family": letters.fonts}], after_reset=True), _quiet():
        drawn: Any = Figure(figsize=inches, layout="constrained")
        FigureCanvasAgg(drawn)
        drawn.suptitle(letters.text(title), x=0.012, ha="left", fontsize=14, fontweight="bold")
        yield drawn
        with written_whole(path) as unfinished:
            drawn.savefig(unfinished, format="png", dpi=dpi)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without matplotlib's warnings and notes, such as that a font has no bold letters."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def missing(path: str | os.PathLike[str], error: Exception) -> str:
    """The warning that a figure could not be drawn: a figure that fails must cost no result."""
    reason = " ".join(str(error).split()) or type(error).__name__
    state = "is that of before, and no newer one could be drawn" if os.path.exists(path) else "is missing"
    return f"Warning: {Path(path).name} {state} ({reason:.300})"


def _import_matplotlib() -> None:
    """Import it without MPLBACKEND, for it raises where that names a backend that it does not know.

    And without its warnings of a settings file, which is not used, and of a home folder that is read-only.
    """
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        with _quiet():
            import matplotlib
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend  # for who draws by pyplot later


def _fonts_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Families of fonts that have these letters, the usual one first, and the letters that none has."""
    _import_matplotlib()
    from matplotlib.font_manager import fontManager

    families, letters = [FONT], letters - _those_in(fontManager.findfont(FONT), letters)
    entries = [entry for entry in fontManager.ttflist if entry.style == "normal" and not entry.name.startswith(NO_FONT)]
    entries.sort(key=lambda entry: entry.weight not in (400, "normal", "regular"))  # the others have the same letters
    for entry in entries:
        if not letters:
            break
        if entry.name not in families and (found := _those_in(entry.fname, letters)):
            families.append(entry.name)
            letters = letters - found
    return families, letters


def _those_in(font: str, letters: set[str]) -> set[str]:
    """The letters that the font in this file has; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        known = FT2Font(font).get_charmap()
    except Exception:  # a damaged font of the machine is no reason to draw nothing
        return set()
    return {letter for letter in letters if ord(letter) in known}


def _code(letter: str) -> str:
    """What is drawn for a letter that cannot be."""
    if unicodedata.category(letter) == "Zs":
        return " "
    if letter in "\u200c\u200d":  # joins the letters beside it, or keeps them apart
        return ""
    return repr(letter)[1:-1] if letter.isascii() else letter.encode("ascii", "backslashreplace").decode()
