"""Ctrl-C as a request: what is in hand is finished first."""

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Self


class Stopped(Exception):  # noqa: N818
    """Training was asked to stop."""


class StopRequest:
    """Within it, the first Ctrl-C, SIGTERM or SIGHUP is only noted; after it a Ctrl-C interrupts as usual.

    SIGHUP comes when a terminal is closed or a connection is lost. Where it is ignored, as nohup has it, it stays so,
    and SIGTERM likewise; SIGINT is taken even then, for a shell that starts a program in the background has it ignored.
    Another SIGTERM changes nothing: a checkpoint may be being written, and who cannot wait for it has SIGKILL.
    Signals reach the main thread only: in another one, only ``make`` asks for a stop.
    """

    SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self.made = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def make(self) -> None:
        """Ask for a stop."""
        self.made = True

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
        self.make()
        signal.signal(signal.SIGINT, signal.default_int_handler)
