"""What a check found: rows of a table, or an error that names the worst entry."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan


@dataclass(frozen=True)
class Row:
    """How wrong the gradient of one tensor is."""

    op: str
    tensor: str
    method: str  # "directions", "entries", "complex step" or "float32 vs reference"
    tolerance: float
    error: float  # the worst relative error, rounding taken off; NaN where nothing could be compared
    compared: int  # how many slopes
    kinks: int  # how many slopes had to be left out
    mistake: str = ""  # the likely one

    @property
    def dtype(self) -> str:
        """The dtype of what was checked."""
        return "float32" if self.method.startswith("float32") else "float64"

    @property
    def verdict(self) -> str:
        """ "right", "wrong", or "at a kink" where nothing could be compared."""
        if self.error > self.tolerance:
            return "wrong"
        return "right" if self.compared else "at a kink"


@dataclass(frozen=True)
class Result:
    """The rows of one or more checks. Its str is a table."""

    rows: list[Row]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def error(self) -> float:
        """The worst relative error of all."""
        return max((row.error for row in self.rows if row.compared), default=nan)

    @property
    def ok(self) -> bool:
        """Whether every gradient is right."""
        return all(row.verdict == "right" for row in self.rows)

    def __str__(self) -> str:
        table = [("op", "tensor", "method", "worst error", "tolerance", "verdict")]
        table += [(r.op, r.tensor, r.method, f"{r.error:.1e}", f"{r.tolerance:.0e}", r.verdict) for r in self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table)


class GradientError(AssertionError):
    """A gradient that backward got wrong. ``row`` is what the check found for its tensor.

    ``index`` of the worst entry (None where it is no single entry), with its ``analytic`` and ``numerical`` value.
    """

    def __init__(
        self,
        message: str,
        row: Row,
        index: tuple[int, ...] | None = None,
        analytic: float = nan,
        numerical: float = nan,
    ) -> None:
        hint = f"\n  likely mistake: {row.mistake}" if row.mistake else ""
        super().__init__(f"{row.op}: {message}{hint}")
        self.row = row
        self.index = index
        self.analytic, self.numerical = analytic, numerical

    @property
    def tensor(self) -> str:
        """The name of the input or parameter."""
        return self.row.tensor

    @property
    def error(self) -> float:
        """The tensor's worst relative error; infinity for a gradient of the wrong shape or dtype."""
        return self.row.error

    @property
    def mistake(self) -> str:
        """The likely mistake; "" where it could not be told."""
        return self.row.mistake


class UnlistedArrays(UserWarning):
    """Arrays that forward depends on, neither inputs nor listed parameters: their gradient is not checked."""
