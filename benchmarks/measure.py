"""Turns, and what is made of their times.

The contenders of a comparison are alive at the same time, each in its process, and take turns: A B C A B C ... In
a turn one computes and the others wait. Whatever makes the machine slower for a while makes it slower for all.

From the times of its calls follow, for each contender,

    the time of a turn     the median of the turn's calls
    the time               the median of its turns' times; quartiles likewise; and its quickest call
    the ratio              in every round, its turn's time over that of the quickest peer in the same round; then
                           the median, the smallest and the largest over the rounds

A peer is anybody but this project. On a GPU, which contenders have one after the other (gpu.py), a ratio is that of two
times, and its range that of any two turns.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter, sleep
from typing import Any

import numpy as np

from .machine import Load
from .worker import ContenderError, Worker

PAUSE_S = 0.2  # between turns: idle threads of OpenMP and the like go on spinning for some milliseconds


class Turns:
    """The rounds of one comparison: calls[contender][round] is what the contender's turn returned."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Any]] = {}
        self.failed: dict[str, str] = {}
        self.idle = 0.0  # cores that waiting contenders kept busy, mean
        self.others = 0.0  # cores that everything else on the machine kept busy, mean


def take_turns(workers: Sequence[Worker], rounds: int, method: str, *arguments: Any) -> Turns:
    """Call the method of every worker once a round. One that fails drops out, with the reason in ``failed``."""
    turns = Turns()
    workers = list(workers)
    seconds = idle = others = 0.0
    for _ in range(rounds):
        for worker in list(workers):
            sleep(PAUSE_S)
            load = Load(w.process.pid for w in workers)
            start = perf_counter()
            try:
                turns.calls.setdefault(worker.entry.name, []).append(worker.call(method, *arguments))
            except ContenderError as error:
                turns.failed[worker.entry.name] = str(error)
                del turns.calls[worker.entry.name]
                workers.remove(worker)
                continue
            seconds += perf_counter() - start
            used, rest = load.seconds()
            used.pop(worker.process.pid, None)
            idle += sum(used.values())
            others += rest
    if seconds:
        turns.idle, turns.others = idle / seconds, others / seconds
    return turns


def statistics(calls: Mapping[str, Sequence[Sequence[float]]], peers: Sequence[str]) -> dict[str, dict[str, Any]]:
    """calls[contender][round] in seconds -> contender -> the figures above. Ratios are None where there is no peer."""
    times = _times(calls)
    rivals = [times[name] for name in peers if name in times]
    quickest = np.min(rivals, axis=0) if rivals else None
    figures = {}
    for name, turns in calls.items():
        ratio = None if quickest is None else times[name] / quickest
        range_of_ratios = ratio if ratio is None else (np.median(ratio), ratio.min(), ratio.max())
        figures[name] = _figure(turns, times[name], range_of_ratios)
    return figures


def one_after_another(
    calls: Mapping[str, Sequence[Sequence[float]]], peers: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """The same of contenders that did not take turns."""
    times = _times(calls)
    rivals = [times[name] for name in peers if name in times]
    quickest = min(rivals, key=np.median) if rivals else None
    figures = {}
    for name, turns in calls.items():
        own = times[name]
        ratios = None
        if own is quickest:
            ratios = (1.0, 1.0, 1.0)
        elif quickest is not None:
            ratios = (np.median(own) / np.median(quickest), own.min() / quickest.max(), own.max() / quickest.min())
        figures[name] = _figure(turns, own, ratios)
    return figures


def _times(calls: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, np.ndarray]:
    """Of each turn."""
    return {name: np.array([np.median(turn) for turn in turns]) for name, turns in calls.items()}


def _figure(turns: Sequence[Sequence[float]], times: np.ndarray, ratios: Any) -> dict[str, Any]:
    q1, median, q3 = np.quantile(times, (0.25, 0.5, 0.75))
    ratio, low, high = (None, None, None) if ratios is None else map(float, ratios)
    return {
        "median_s": float(median),
        "q1_s": float(q1),
        "q3_s": float(q3),
        "best_s": float(min(min(turn) for turn in turns)),
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "calls_s": [[float(seconds) for seconds in turn] for turn in turns],
    }
