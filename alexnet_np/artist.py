"""Figures drawn beside a training run, by a process of its own: python -m alexnet_np.artist

The jobs come on its standard input. For each, a line of JSON goes to its standard output: null, or the warning that the
figure is missing. Both are files without a name: no kill of either process leaves one behind.
"""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .drawing import missing


@dataclass(frozen=True)
class Job:
    """One figure: ``draw(path, *arguments)`` draws it, a function such as figures.training_figure."""

    draw: Callable[..., None]
    path: Path
    arguments: tuple[Any, ...]


class Artist:
    """Draws in a process of its own, at a low priority, so that the training does not wait.

    ``tell`` is given a sentence for each figure that is missing. Nothing that happens to the process raises.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._drawing: _Drawing | None = None

    def draw(self, jobs: Sequence[Job]) -> None:
        """Begin to draw these; first wait for those before."""
        self.wait()
        try:
            self._drawing = _Drawing(jobs)
        except Exception as error:  # no memory for a process, no room for a file, ...
            for job in jobs:
                self.tell(missing(job.path, error))

    def is_free(self) -> bool:
        """Whether nothing is being drawn. Reports the figures that are missing from the last drawing."""
        if self._drawing is not None and self._drawing.process.poll() is not None:
            self.wait()
        return self._drawing is None

    def wait(self) -> None:
        """Wait until nothing is being drawn, and report the figures that are missing."""
        drawing, self._drawing = self._drawing, None
        if drawing is not None:
            for warning in drawing.end():
                self.tell(warning)


class _Drawing:
    """A process that draws. OSError and others where it cannot be started."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        # By a file: a pipe, being small, would make us wait until the process reads, and for ever if it never does. And
        # not by a fork: a process with threads, or one that uses a GPU, cannot be forked safely.
        with ExitStack() as opened:
            self._told = opened.enter_context(tempfile.TemporaryFile())
            order = opened.enter_context(tempfile.TemporaryFile())
            pickle.dump(jobs, order)
            order.seek(0)
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=order,
                stdout=self._told,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the training
            )
            opened.pop_all()
            order.close()

    def end(self) -> list[str]:
        """Wait for it; a warning for each figure that is missing."""
        code = self.process.wait()
        with self._told:
            self._told.seek(0)
            told = [json.loads(line) for line in self._told if line.endswith(b"\n")]
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        lost = RuntimeError(f"the process that draws {how}")
        return [*filter(None, told), *(missing(job.path, lost) for job in self.jobs[len(told) :])]


def draw(jobs: Sequence[Job], tell: Callable[[str], None]) -> None:
    """Draw these here and now. A figure that fails is reported, and costs nothing else."""
    for job in jobs:
        try:
            job.draw(job.path, *job.arguments)
        except Exception as error:
            tell(missing(job.path, error))


def _draw_and_tell(jobs: Sequence[Job]) -> None:
    for job in jobs:
        warnings: list[str] = []
        draw([job], warnings.append)
        print(json.dumps(warnings[0] if warnings else None), flush=True)


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    _draw_and_tell(pickle.load(sys.stdin.buffer))
