"""No kernel of the CPU backend reads or writes beyond an array, whatever it is given: guard_pages.py does the work."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pages are guarded by mprotect, which Windows has not")
PROGRAM = Path(__file__).with_name("guard_pages.py")


def run(where: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, PROGRAM, where], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("where", ["start", "end"])
def test_kernels_stay_within_their_arrays(where: str) -> None:
    result = run(where)
    assert result.stdout == "all kernels stay within their arrays\n", (result.returncode, result.stderr)


def test_reading_beyond_an_array_would_end_the_process() -> None:
    assert run("beyond").returncode < 0
