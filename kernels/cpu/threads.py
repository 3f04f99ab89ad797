"""One pool of threads for the whole engine.

Kernels run without the GIL, one task a thread, each on its own share of the work. There is no second
level: no BLAS and no Numba parallel loop runs inside a task, so that nothing competes for the cores.

Whoever waits, for a task or for the others to finish, looks out for a moment before it sleeps (signals.py).
"""

import os
import threading
from collections.abc import Callable, Iterable
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from .signals import Count


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
_work: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] | None = None  # where helpers wait; None: there are none
_done: SimpleQueue[BaseException | None] = SimpleQueue()
_posted, _finished = Count(), Count()  # tasks, in all


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
        work = _start_helpers()
        all_finished = _finished.value + len(others)
        for task in others:
            work.put((function, task))
        _posted.add(len(others))
        errors: list[BaseException | None] = []
        try:
            function(*first)
        finally:
            _finished.watch(all_finished)
            errors = [_done.get() for _ in others]
        for error in filter(None, errors):
            raise error
    finally:
        _busy.release()


def shares(total: int, multiple: int = 1) -> list[tuple[int, int]]:
    """0 ... total cut into at most NUM_THREADS ranges, as equal as can be, at multiples of ``multiple``."""
    units = -(-total // multiple)
    parts = max(1, min(NUM_THREADS, units))
    cuts = [units * part // parts * multiple for part in range(parts)] + [total]
    return list(pairwise(cuts))


def _start_helpers() -> SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]]:
    """The queue that the helper threads wait at; they are started once."""
    global _work
    if _work is None:
        _work = SimpleQueue()
        for number in range(1, NUM_THREADS):
            threading.Thread(target=_help, args=(_work, _done), name=f"alexnet_np-{number}", daemon=True).start()
    return _work


def _help(
    work: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]], done: SimpleQueue[BaseException | None]
) -> None:
    while True:
        next_task = _posted.value + 1
        if work.empty():
            _posted.watch(next_task)
        function, task = work.get()
        try:
            function(*task)
        except BaseException as error:  # the caller's to deal with, whatever it is
            done.put(error)
        else:
            done.put(None)
        _finished.add(1)
        del function, task  # arrays of a finished task must not wait for the next one


def _forget_helpers() -> None:
    """After a fork the child has none of the threads, and a lock that nobody will release."""
    global _work, _done, _busy, _posted, _finished
    _work, _done, _busy = None, SimpleQueue(), threading.Lock()
    _posted, _finished = Count(), Count()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
