"""Figures drawn beside a training run, by a process of its own: python -m alexnet_np.artist JOBS."""

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Job = tuple[Callable[..., None], tuple[Any, ...]]  # a function, such as figures.training_figure, and its arguments


class Artist:
    """Draws in a process of its own, at a low priority, so that the training does not wait."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def busy(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def draw(self, jobs: Sequence[Job]) -> None:
        """Draw these, soon. A figure that cannot be written is told of on standard error.

        OSError where the process cannot be started.
        """
        # By a file: a pipe, being small, would make us wait until the process reads, and for ever if it never does. And
        # not by a fork: a process with threads, or one that uses a GPU, cannot be forked safely.
        with tempfile.NamedTemporaryFile("wb", suffix=".jobs", delete=False) as file:
            pickle.dump(jobs, file)
        # In a session of its own: Ctrl-C is for the training.
        self._process = subprocess.Popen([sys.executable, "-m", __name__, file.name], start_new_session=True)

    def wait(self) -> None:
        """Until nothing is being drawn."""
        if self._process is not None:
            self._process.wait()


def _draw(path: Path) -> None:
    """Draw the jobs of this file, which is ours and no longer needed."""
    if hasattr(os, "nice"):
        os.nice(10)
    jobs: Sequence[Job] = pickle.loads(path.read_bytes())
    path.unlink()
    for draw, arguments in jobs:
        try:
            draw(*arguments)
        except OSError as error:
            print(f"Warning: {error}; a figure is missing", file=sys.stderr)


if __name__ == "__main__":
    _draw(Path(sys.argv[1]))
