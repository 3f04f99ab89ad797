"""The pool: complete, correct under contention and after a fork, and never more threads than were asked for."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from alexnet_np.kernels.cpu import threads
from alexnet_np.kernels.cpu.signals import Count
from hypothesis import given, strategies as st

from alexnet_np import layers


@given(total=st.integers(0, 200), multiple=st.integers(1, 40))
def test_shares_cover_everything_once(total: int, multiple: int) -> None:
    shares = threads.shares(total, multiple)
    assert [i for start, stop in shares for i in range(start, stop)] == list(range(total))
    assert 1 <= len(shares) <= threads.NUM_THREADS
    assert all(start % multiple == 0 for start, _ in shares)


def test_an_error_in_any_task_reaches_the_caller_and_the_pool_goes_on() -> None:
    def task(number: int, failing: int) -> None:
        if number == failing:
            raise ZeroDivisionError(number)

    for failing in (0, 1):
        with pytest.raises(ZeroDivisionError):
            threads.run(task, [(0, failing), (1, failing)])
    done: list[int] = []
    threads.run(done.append, [(0,), (1,)])
    assert sorted(done) == [0, 1]


def test_several_callers_at_once_get_the_same_bits_as_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 14, 14, 32), dtype=np.float32)

    def gradients(_: int) -> bytes:
        layer = layers.Conv2d(32, 32, 3, padding=1, rng=np.random.default_rng(1))
        dx = layer.backward(layer.forward(x))
        return dx.tobytes() + layer.weight.grad.tobytes()

    alone = gradients(0)
    with ThreadPoolExecutor(6) as callers:
        assert set(callers.map(gradients, range(30))) == {alone}


def test_the_pool_has_one_thread_less_than_it_may_use() -> None:
    used: set[int] = set()
    for _ in range(20):
        threads.run(lambda _: used.add(threading.get_ident()), [(n,) for n in range(3 * threads.NUM_THREADS)])
    assert len(used - {threading.get_ident()}) <= threads.NUM_THREADS - 1


SMALL = """
import numpy as np
from alexnet_np import layers
layer = layers.Conv2d(32, 32, 3, padding=1, rng=np.random.default_rng(1))
x = np.random.default_rng(0).standard_normal((4, 14, 14, 32), dtype=np.float32)
def work():
    dx = layer.backward(layer.forward(x))
    return float(np.abs(dx).sum()) + float(np.abs(layer.weight.grad).sum())
"""


def _python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_works() -> None:
    code = SMALL + (
        "import os\n"
        "before = work()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(0 if work() == before else 1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    # Python 3.12 warns of every fork beside threads: here it is the point.
    result = _python("import warnings; warnings.simplefilter('ignore')\n" + code)
    assert result.stdout.strip() == "0", result.stderr


@pytest.mark.parametrize("count", ["1", "3"])
def test_the_number_of_threads_can_be_chosen(count: str) -> None:
    code = SMALL + "from alexnet_np.kernels.cpu import threads\nprint(work(), threads.NUM_THREADS)"
    result = _python(code, ALEXNET_NP_NUM_THREADS=count)
    total, threads_used = result.stdout.split()
    assert threads_used == count
    namespace: dict = {}
    exec(SMALL, namespace)
    assert float(total) == pytest.approx(namespace["work"](), rel=1e-5)


def test_a_number_of_threads_that_is_none_is_refused() -> None:
    for count in ("many", "0", "-3", "1.5", "1000000000", "9" * 5000):
        result = _python(SMALL + "work()", ALEXNET_NP_NUM_THREADS=count)
        expected = f"ALEXNET_NP_NUM_THREADS: expected a whole number of threads from 1 to 1024, got {count!r:.200}"
        assert expected in result.stderr.splitlines()[-1]


def test_without_a_folder_to_write_to_nothing_is_cached_and_all_works() -> None:
    nowhere = os.path.join(os.devnull, "nowhere")
    places = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "LOCALAPPDATA": nowhere}
    code = (
        "import tempfile\n"
        f"tempfile.gettempdir = lambda: {nowhere!r}\n"
        + SMALL
        + "from alexnet_np.kernels.cpu import jit\nprint(work() > 0, jit.cache_folder())"
    )
    result = _python(code, NUMBA_CACHE_DIR="", **places)
    assert result.stdout.split() == ["True", "None"], result.stderr


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="this system has no owners of files")
def test_the_temporary_folder_is_not_the_package_and_is_the_users_own(tmp_path) -> None:
    """Python started there imports the package, not the folder; code that others could have put there is not run."""
    nowhere = os.path.join(os.devnull, "nowhere")
    places = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "NUMBA_CACHE_DIR": "", "TMPDIR": str(tmp_path)}
    code = "from alexnet_np.kernels.cpu import jit\nprint(jit.cache_folder())"
    folder = Path(_python(code, **places).stdout.strip())
    assert folder.parent.parent == tmp_path and not folder.parent.name.isidentifier()
    folder.parent.chmod(0o777)
    assert _python(code, **places).stdout.strip() == "None"


def test_counts_are_only_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """No task is lost, and none waited for in vain, where additions get lost or come from nowhere."""
    for wrong in (lambda count, number: None, lambda count, number: setattr(count, "_cells", count._cells + 3)):
        monkeypatch.setattr(Count, "add", wrong)
        for _ in range(20):
            done: list[int] = []
            threads.run(done.append, [(n,) for n in range(threads.NUM_THREADS)])
            assert sorted(done) == list(range(threads.NUM_THREADS))
