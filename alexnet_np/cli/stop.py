"""Ctrl-C as a request: what is in hand is finished first."""

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Self


class Stopped(Exception):  # noqa: N818
    """Training was asked to stop."""


class StopRequest:
    """Within it, the first Ctrl-C or SIGTERM is only noted; after it a Ctrl-C interrupts as usual.

    Another SIGTERM changes nothing: a checkpoint may be being written, and who cannot wait for it has SIGKILL.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.made = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def grant(self) -> None:
        """Raise Stopped if a stop was asked for."""
        if self.made:
            raise Stopped

    def between(self, batches: Iterable[Any]) -> Iterator[Any]:
        """The batches, as long as no stop was asked for."""
        for batch in batches:
            self.grant()
            yield batch

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
