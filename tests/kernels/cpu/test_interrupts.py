"""After an interrupt, whenever it came, every result has the bits that it always has: interrupts.py does the work."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("interrupts.py")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer that interrupts a process")
@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_interrupts_at_random_moments_leave_nothing_behind(threads: int) -> None:
    """2,000 in all: forward, training step, every kernel, failing tasks, and the first start of the helpers."""
    result = subprocess.run(
        [sys.executable, PROGRAM, "500", str(threads)],
        env=os.environ | {"ALEXNET_NP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
