"""Figures drawn beside a training run, by a process of its own."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

Job = tuple[Callable[..., None], tuple[Any, ...]]  # a function, such as figures.training_figure, and its arguments


class Artist:
    """Draws in a process of its own, at a low priority, so that the training does not wait."""

    def __init__(self) -> None:
        self._process: BaseProcess | None = None

    @property
    def busy(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def draw(self, jobs: Sequence[Job]) -> None:
        """Draw these, soon. A figure that cannot be written is told of on standard error."""
        # Not a fork: a process with threads, or one that uses a GPU, cannot be forked safely.
        self._process = get_context("spawn").Process(target=_draw, args=(jobs,), daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Until nothing is being drawn."""
        if self._process is not None:
            self._process.join()


def _draw(jobs: Sequence[Job]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the training
    if hasattr(os, "nice"):
        os.nice(10)
    for draw, arguments in jobs:
        try:
            draw(*arguments)
        except OSError as error:
            print(f"Warning: {error}; a figure is missing", file=sys.stderr)
