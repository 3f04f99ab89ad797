"""One pool of threads for the whole CPU backend.

Kernels run without the GIL, one task a thread, each on its own share of the work. There is no second
level: no BLAS and no Numba parallel loop runs inside a task, so that nothing competes for the cores.

    run(function, tasks)        the calling thread posts a job, and then takes tasks from it like every helper
    helper threads              wait for jobs, and take tasks from them while there are any

So a job needs no helper to be finished: with one thread, or while all helpers work for another caller, the caller
does all of it. A task is taken by an atomic addition, and a job has its own numbers and its own list of errors:
nothing of one job can be taken for something of another.

Whatever is raised (an error in a task, Ctrl-C in the main thread), ``run`` returns only when no helper works on its
tasks any more. Python runs signal handlers between its own instructions only, never inside compiled code: so the last
wait is one call of compiled code, ``_close``.

Whoever waits, for a job or for the others to finish, watches for a moment before it sleeps (signals.py).
"""

import _thread
import os
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from ..thread_count import chosen_threads
from .jit import brief, compiled, inner
from .signals import LINE, Count, atomic_add, atomic_exchange, cells, wait, watch

NUM_THREADS = chosen_threads()

_jobs: SimpleQueue["_Job"] = SimpleQueue()  # each as often as it wants helpers
_posted = Count()  # entries of _jobs, in all
_helpers: dict[int, int] = {}  # the number of each, 1 ... NUM_THREADS - 1, and its thread's identifier


def run(function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]]) -> None:
    """Call ``function(*task)`` for every task, on all threads, and wait for all.

    The first error of a task is raised again when no thread works on the others any more; so is Ctrl-C, and tasks
    that nobody has begun by then are left out.
    """
    job = _Job(function, list(tasks))
    total, numbers = len(job.tasks), job.numbers
    wanted = min(NUM_THREADS, total) - 1
    try:
        if wanted > 0:
            _post(job, wanted)
        job.call()
    finally:
        _close(numbers, total)  # nothing may be called before it: a signal could be handled there
    if job.errors:
        raise job.errors[0]


def shares(total: int, multiple: int = 1) -> list[tuple[int, int]]:
    """0 ... total cut into at most NUM_THREADS ranges, as equal as can be, at multiples of ``multiple``."""
    units = -(-total // multiple)
    parts = max(1, min(NUM_THREADS, units))
    cuts = [units * part // parts * multiple for part in range(parts)] + [total]
    return list(pairwise(cuts))


class _Job:
    """A function, its tasks, and how many of them the caller and its helpers have taken."""

    def __init__(self, function: Callable[..., Any], tasks: list[tuple[Any, ...]]) -> None:
        self.function = function
        self.tasks = tasks
        self.errors: list[BaseException] = []
        self.numbers = cells(4)
        self.finished: SimpleQueue[None] = SimpleQueue()  # an entry for each task that a helper has finished

    def call(self) -> None:
        """The caller's part: take tasks until there are none, then wait for those that helpers have taken."""
        total, numbers = len(self.tasks), self.numbers
        number = _take(numbers, total)
        while number >= 0:
            self.function(*self.tasks[number])
            number = _take_or_watch(numbers, total)
        for _ in range(total - int(numbers[_CALLERS])):
            self.finished.get()

    def help(self) -> None:
        """A helper's part: take tasks until there are none."""
        total, numbers = len(self.tasks), self.numbers
        number = _take_as_helper(numbers, total)
        while number >= 0:
            try:
                self.function(*self.tasks[number])
            except BaseException as error:  # the caller's to deal with, whatever it is
                self.errors.append(error)
            number = _finish_and_take(numbers, total)
            self.finished.put(None)


# Where a job's numbers are: the next task to take; how many the caller has taken; how many helpers have finished;
# and, when it is closed, how many those will be.
_NEXT, _CALLERS, _FINISHED, _GOAL = (LINE * i for i in range(1, 5))
_CLOSED = 1 << 40  # more than a job has tasks


@brief
def _take(numbers, total):  # type: ignore[no-untyped-def]
    """For the caller: the number of a task that nobody has taken, or -1."""
    return _taken_by_caller(numbers, total)


@compiled
def _take_or_watch(numbers, total):  # type: ignore[no-untyped-def]
    """The same; where there is none, watch the helpers for a moment: they may finish before it is worth sleeping."""
    number = _taken_by_caller(numbers, total)
    if number < 0:
        watch(numbers, _FINISHED, total - numbers[_CALLERS])
    return number


@inner
def _taken_by_caller(numbers, total):  # type: ignore[no-untyped-def]
    number = atomic_add(numbers, _NEXT, 1)
    if number >= total:
        return -1
    numbers[_CALLERS] += 1
    return number


@brief
def _take_as_helper(numbers, total):  # type: ignore[no-untyped-def]
    """For a helper: the number of a task that nobody has taken, or -1."""
    number = atomic_add(numbers, _NEXT, 1)
    return number if number < total else -1


@brief
def _finish_and_take(numbers, total):  # type: ignore[no-untyped-def]
    """A helper has finished a task, and takes another."""
    atomic_add(numbers, _FINISHED, 1)
    number = atomic_add(numbers, _NEXT, 1)
    return number if number < total else -1


@compiled
def _close(numbers, total):  # type: ignore[no-untyped-def]
    """Let nobody take a task any more, and wait for those that helpers have taken."""
    taken = atomic_exchange(numbers, _NEXT, _CLOSED)
    if taken < _CLOSED:
        numbers[_GOAL] = min(taken, total) - numbers[_CALLERS]
    wait(numbers, _FINISHED, numbers[_GOAL])


def _post(job: _Job, wanted: int) -> None:
    """Ask for so many helpers."""
    if len(_helpers) < NUM_THREADS - 1:
        _start_helpers()
    for _ in range(wanted):
        _jobs.put(job)
    _posted.add(wanted)


def _start_helpers() -> None:
    """Start those that are missing: all at first, and what an interrupt or a lack of threads has left out before."""
    _close(cells(4), 0)  # compiled now: when it counts, Numba's compiler could be interrupted
    for number in range(1, NUM_THREADS):
        if number not in _helpers:
            try:
                # threading.Thread.start waits in Python code, which an interrupt can leave with locks half released.
                _thread.start_new_thread(_help, (number,))
            except RuntimeError:  # the system has no more threads: the callers do the work
                return
            while number not in _helpers:
                time.sleep(0)


def _help(number: int) -> None:
    own = _thread.get_ident()
    if _helpers.setdefault(number, own) != own:
        return  # started twice, after an interrupt or by two callers at once
    while True:
        next_one = _posted.value + 1
        if _jobs.empty():
            _posted.watch(next_one)
        _jobs.get().help()


def _forget_helpers() -> None:
    """After a fork the child has none of the threads."""
    global _jobs, _posted
    _jobs, _posted = SimpleQueue(), Count()
    _helpers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
