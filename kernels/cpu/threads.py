"""One pool of threads for the whole engine.

Kernels run without the GIL, one task a thread, each on its own share of the work. There is no second
level: no BLAS and no Numba parallel loop runs inside a task, so that nothing competes for the cores.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _chosen_threads() -> int:
    text = os.environ.get("ALEXNET_NP_NUM_THREADS", "")
    if not text:
        return available_cores()
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"ALEXNET_NP_NUM_THREADS: expected an integer of at least 1, got {text!r}")
    return int(text)


NUM_THREADS = _chosen_threads()

_busy = threading.Lock()
_helpers: ThreadPoolExecutor | None = None


def run(function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> None:
    """Call ``function(*task)`` for every task, at the same time, and wait for all.

    The calling thread takes the first. Where another thread is using the pool, the tasks run one after
    another in the caller's: as correct, with the same bits, and no more threads than cores.
    """
    first, *others = tasks
    if not others or not _busy.acquire(blocking=False):
        for task in (first, *others):
            function(*task)
        return
    try:
        waiting = [_pool().submit(function, *task) for task in others]
        try:
            function(*first)
        finally:
            for future in waiting:
                future.result()
    finally:
        _busy.release()


def shares(total: int, multiple: int = 1) -> list[tuple[int, int]]:
    """0 ... total cut into at most NUM_THREADS ranges, as equal as can be, at multiples of ``multiple``."""
    units = -(-total // multiple)
    parts = max(1, min(NUM_THREADS, units))
    cuts = [units * part // parts * multiple for part in range(parts)] + [total]
    return list(zip(cuts, cuts[1:], strict=False))


def _pool() -> ThreadPoolExecutor:
    global _helpers
    if _helpers is None:
        _helpers = ThreadPoolExecutor(max(1, NUM_THREADS - 1), thread_name_prefix="alexnet_np")
    return _helpers


def _forget_pool() -> None:
    """After a fork the child has none of the threads, and a lock that nobody will release."""
    global _helpers, _busy
    _helpers, _busy = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
