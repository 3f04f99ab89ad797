"""One run of the benchmark: three parts, one result.

    network    inference and the training step at every batch size
    layers     the forward and backward of every layer alone
    startup    fresh processes: the time to the first step, and memory

The result is a dictionary as it stands in result.json; report.py, plots.py and compare.py read nothing else.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

from . import correctness, machine, problem
from .contenders import BY_NAME, DEFINITION, ENTRIES, Entry
from .measure import Turns, statistics, take_turns
from .worker import ROOT, ContenderError, Worker

FORMAT = 1
PARTS = ("network", "layers", "startup")
STEPS = 3  # of a fresh process


@dataclass(frozen=True)
class Settings:
    """What the command line decides."""

    contenders: tuple[str, ...]
    batches: tuple[int, ...] = (1, 16, 128)
    threads: int = 1
    rounds: int = 5
    turn_s: float = 1.0  # at least
    parts: tuple[str, ...] = PARTS
    minutes: float | None = None  # of a run on a GPU


class Run:
    """Collects a result; ``save`` is called with it whenever a part of it is complete.

    ``field`` has the contenders among which the settings choose.
    """

    field: Sequence[Entry] = ENTRIES
    parts = PARTS
    statistics = staticmethod(statistics)
    deadline = inf  # of all processes: see Worker

    def __init__(self, settings: Settings, save: Callable[[dict[str, Any]], None]) -> None:
        self.start = perf_counter()
        self.settings = settings
        self.save = save
        self.result: dict[str, Any] = {
            "format": FORMAT,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "settings": asdict(settings) | {"tolerances": correctness.TOLERANCES},
            "machine": machine.describe(settings.threads),
            "commit": machine.commit(ROOT),
            "contenders": {},
            "excluded": [],
            "checks": [],
            "network": [],
            "layers": [],
            "startup": [],
            "load": [],
        }

    def __call__(self) -> dict[str, Any]:
        self.restrict()
        entries = [entry for name in self.settings.contenders for entry in self.field if entry.name == name]
        for entry in entries:
            row = {"label": entry.label, "framework": entry.module, "ours": entry.ours, "missing": entry.missing}
            self.result["contenders"][entry.name] = {**row, "precision": entry.precision}
        self.entries = [entry for entry in entries if not entry.missing]
        self.ceilings()
        for part in self.settings.parts:
            self.measure(part)
        return self.result

    def measure(self, part: str) -> None:
        """One of PARTS; ``complete`` is called for each piece of it."""
        for N in self.settings.batches if part != "layers" else self.settings.batches[-1:]:
            getattr(self, part)(N)
            self.complete()

    def complete(self) -> None:
        """Save what there is."""
        self.result["seconds"] = round(perf_counter() - self.start)
        self.save(self.result)

    # ---- the parts

    def network(self, N: int) -> None:
        """Inference and training step: everybody is checked, then all take turns."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._say(f"batch {N}: what is expected")
            with self._start(DEFINITION) as definition:
                definition.call("build", N)
                definition.call("expect", folder)
            workers = []
            for entry in self.entries:
                with self._excluding(entry, f"batch {N}"):
                    self._say(f"batch {N}: checking {entry.label}")
                    worker = stack.enter_context(self._start(entry))
                    worker.call("build", N)
                    self._check(entry, N, None, worker.call("check", folder))
                    workers.append((worker, worker.call("works")))
            for work in ("inference", "training step"):
                self._say(f"batch {N}: {work}")
                able = [worker for worker, works in workers if work in works]
                turns = self._turns(able, f"{work}, batch {N}", "run", work)
                for name, figure in self._statistics(turns.calls).items():
                    self.result["network"].append(self._network_row(N, work, name, figure))

    def layers(self, N: int) -> None:
        """Every layer alone, forward and backward, at the largest batch size."""
        with ExitStack() as stack:
            definition = stack.enter_context(self._start(DEFINITION))
            workers = []
            for entry in self.entries:
                if entry.layers:
                    with self._excluding(entry, "layers"):
                        workers.append(stack.enter_context(self._start(entry)))
            for layer in problem.LAYERS:
                self._say(f"{layer.name} alone, batch {N}")
                able = []
                with tempfile.TemporaryDirectory() as folder:
                    definition.call("build_layer", layer.name, N)
                    definition.call("expect_layer", Path(folder))
                    for worker in workers:
                        with self._excluding(worker.entry, layer.name):
                            worker.call("build_layer", layer.name, N)
                            errors = worker.call("check_layer", Path(folder))
                            self._check(worker.entry, N, layer.name, errors)
                            able.append(worker)
                turns = self._turns(able, layer.name, "run_layer")
                for direction in ("forward", "backward"):
                    calls = {name: [turn[direction] for turn in rounds] for name, rounds in turns.calls.items()}
                    for name, figure in self._statistics(calls).items():
                        self.result["layers"].append(self._layer_row(N, layer, direction, name, figure))

    def startup(self, N: int) -> None:
        """Time to the first step of a fresh process, and its memory; with nothing and with all of its code compiled."""
        for entry in self.entries:
            with tempfile.TemporaryDirectory() as folder, self._excluding(entry, f"start, batch {N}"):
                self._say(f"batch {N}: fresh process of {entry.label}")
                for cache in ("empty", "filled") if entry.cache else ("none",):
                    variables = {entry.cache: folder} if entry.cache else {}
                    what = {"contender": entry.name, "batch": N, "cache": cache}
                    self.result["startup"].append({**what, **self._fresh(entry, N, variables)})

    def _fresh(self, entry: Entry, N: int, variables: dict[str, str]) -> dict[str, Any]:
        clock = perf_counter()
        with self._start(entry, variables) as worker:
            return self._first_steps(worker, perf_counter() - clock, N)

    def _first_steps(self, worker: Worker, start_s: float, *batch: int) -> dict[str, Any]:
        """A row of "startup", of a worker that took so long to start: build(*batch), then STEPS."""
        clock = [perf_counter()]
        aside = worker.call("build", *batch)
        clock.append(perf_counter())
        work = worker.call("works")[-1]
        built = worker.call("memory")["rss_mib"]
        clock.append(perf_counter())
        worker.call("once", work)
        clock.append(perf_counter())
        for _ in range(STEPS - 1):
            worker.call("once", work)
        build, first = clock[1] - clock[0] - aside, clock[3] - clock[2]
        return {
            "work": work,
            "import_s": start_s,
            "build_s": build,
            "first_s": first,
            "total_s": start_s + build + first,
            "imported_mib": worker.info["rss_mib"],
            "built_mib": built,
            "peak_mib": worker.call("memory")["peak_mib"],
        }

    # ---- what they share

    def _network_row(self, N: int, work: str, name: str, figure: Mapping[str, Any]) -> dict[str, Any]:
        gflops = problem.flops(work, N) / figure["median_s"] / 1e9
        return {"batch": N, "work": work, "contender": name, "gflops": gflops, **figure}

    def _layer_row(
        self, N: int, layer: problem.Layer, direction: str, name: str, figure: Mapping[str, Any]
    ) -> dict[str, Any]:
        # On a GPU a backward is a difference of times, and may be 0.
        gflops = N * layer.flops(direction) / figure["median_s"] / 1e9 if figure["median_s"] else 0.0
        what = {"batch": N, "layer": layer.name, "direction": direction, "contender": name}
        return {**what, "gflops": gflops, **figure}

    def _statistics(self, calls: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """measure.py's, where the peers of a contender are those of its precision."""
        figures: dict[str, dict[str, Any]] = {}
        for precision in dict.fromkeys(entry.precision for entry in self.entries):
            alike = [entry for entry in self.entries if entry.precision == precision]
            own = {entry.name: calls[entry.name] for entry in alike if entry.name in calls}
            figures |= self.statistics(own, [entry.name for entry in alike if not entry.ours])
        return figures

    def _start(self, entry: Entry, variables: dict[str, str] | None = None) -> Worker:
        worker = Worker(entry, self.settings.threads, self.deadline, **(variables or {}))
        if entry.name in self.result["contenders"]:
            about = {"version": worker.info["version"], "loaded_blas": worker.info["blas"]}
            self.result["contenders"][entry.name] |= about
        return worker

    def _turns(self, workers: Sequence[Worker], what: str, method: str, *arguments: Any) -> Turns:
        turns = take_turns(workers, self.settings.rounds, method, *arguments, self.settings.turn_s)
        for name, reason in turns.failed.items():
            self.result["excluded"].append({"contender": name, "what": what, "reason": reason})
        self.result["load"].append({"what": what, "idle_contenders": turns.idle, "others": turns.others})
        return turns

    def _check(self, entry: Entry, N: int, layer: str | None, errors: dict[str, float]) -> None:
        self.result["checks"].append({"contender": entry.name, "batch": N, "layer": layer, "errors": errors})
        if reason := correctness.objection(errors, entry.precision):
            raise ContenderError(reason)

    @contextmanager
    def _excluding(self, entry: Entry, what: str) -> Iterator[None]:
        """Whoever fails inside is left out, and the result says why."""
        try:
            yield
        except ContenderError as error:
            self._say(f"{entry.label} is left out: {error}")
            self.result["excluded"].append({"contender": entry.name, "what": what, "reason": str(error)})

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    # ---- what is of the device

    def restrict(self) -> None:
        """All to as many cores as there are to be threads."""
        machine.restrict(self.settings.threads)

    def ceilings(self) -> None:
        """The peak against which GFLOP/s are read."""
        with self._start(BY_NAME["numpy"]) as worker:
            self.result["machine"]["sgemm_gflops"] = worker.call("sgemm")
            self.result["machine"]["blas"] = worker.info["blas"]
