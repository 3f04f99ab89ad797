"""How many threads the CPU backend uses. Nothing is compiled to know that."""

import os

VARIABLE = "ALEXNET_NP_NUM_THREADS"
MOST = 1024  # threads


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_threads() -> int:
    """What ALEXNET_NP_NUM_THREADS says, or a thread for each core. ValueError where it says no number of threads."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return available_cores()
    if not (text.isdecimal() and len(text) < 9 and 1 <= int(text) <= MOST):
        expected = f"expected a whole number of threads from 1 to {MOST}"
        raise ValueError(f"{VARIABLE}: {expected}, got {text!r:.200}: unset it, or set it to the number of cores")
    return int(text)
