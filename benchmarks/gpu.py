"""The same benchmark on a GPU: python -m benchmarks gpu.

The work, the gate and the report are those of the CPU. What differs is here: who takes part, each in three
precisions; that figures are read against what the GPU itself can do, measured in the same run; and the order. A GPU's
memory does not hold everybody, and its speed, once it is warm, hardly changes. So one contender at a time has the GPU
for itself, with all batch sizes, and the precisions come one after the other. In each the first is a peer, and
it is measured again at the end: how far its two times lie apart is in the report.

A run ends in time: what has not begun when ``minutes`` are over is listed, and all that was complete is kept.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from alexnet_np import backend

from . import machine, problem
from .contenders import DEFINITION, Entry
from .measure import one_after_another
from .run import Run, Settings
from .worker import ContenderError, Worker

PRECISIONS = {"tf32": "TF32", "bfloat16": "bfloat16", "float32": "float32"}
BATCHES = (1, 128, 1024)
DISTINCT = 16  # images of a batch that differ: float64 on the CPU would take minutes for 1024
LAYERS_BATCH = 128
# What one call measures in less than ten minutes; benchmarks/README.md has the calls that measure everything.
DEFAULTS: dict[str, Any] = {"batches": BATCHES, "rounds": 2, "turn_s": 0.2, "minutes": 8.5, "parts": ("network",)}
QUICK: dict[str, Any] = {"batches": (128,)}
CEILINGS = Entry("ceilings", "ceilings", "torch")
GRACE_S = 60.0  # for what has begun when the time is over


def field(ours: str = "gpu", torch: str = "cuda", jax: str = "cuda") -> tuple[Entry, ...]:
    """Everybody, on these devices: other ones than a GPU's are for trying the whole thing out where there is none."""
    entries: list[Entry] = []
    for precision, words in PRECISIONS.items():
        own = {"device": ours, "precision": precision}
        peer = {"device": torch, "precision": precision, "layout": "channels_last"}
        tuned, without = {**peer, "compiled": "max-autotune"}, {**peer, "compiled": "max-autotune-no-cudagraphs"}
        xla = {"device": jax, "precision": precision}
        entries += [
            Entry(f"torch-{precision}", f"PyTorch {words}", "torch", peer, layers=True),
            Entry(precision, f"alexnet-np {words}", "alexnet_np", own, layers=True),
            Entry(f"{precision}-eager", f"alexnet-np {words}, eager", "alexnet_np", {**own, "graph": False}),
            Entry(f"compile-{precision}", f"PyTorch {words}, max-autotune", "torch", tuned, slow=True),
            Entry(f"inductor-{precision}", f"PyTorch {words}, max-autotune, no graphs", "torch", without, slow=True),
            Entry(f"jax-{precision}", f"JAX {words}", "jax", xla, layers=True, slow=True),
        ]
    return tuple(entries)


def problem_here() -> str | None:
    """Why there can be no run here, in a sentence."""
    return backend.gpu_problem()


class GpuRun(Run):
    """A run whose contenders compute on a GPU, one at a time."""

    field: Sequence[Entry] = field()
    parts = ("network", "layers")  # a start is the first thing in each contender's part of the network
    statistics = staticmethod(one_after_another)
    device = "cuda"  # of the ceilings

    def __init__(self, settings: Settings, save: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(settings, save)
        self.end = perf_counter() + 60 * settings.minutes
        self.deadline = self.end + GRACE_S
        self.result |= {"gpu_states": [], "again": []}

    def measure(self, part: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                {"network": self.whole_networks, "layers": self.single_layers}[part](Path(folder))
            except ContenderError as error:  # no contender's: those are caught where they are
                reason = f"what is expected is not known: {error}"
                rows = ({"contender": entry.name, "what": part, "reason": reason} for entry in self.entries)
                self.result["excluded"].extend(rows)
                self.complete()

    # ---- the network

    def whole_networks(self, folder: Path) -> None:
        """Memory and start, the gate, inference and training steps: of one contender after the other."""
        for images in sorted({_distinct(N) for N in self.settings.batches}):
            self._say(f"what is expected of {images} image{'s' * (images > 1)}")
            (folder / str(images)).mkdir()
            with self._start(DEFINITION) as definition:
                definition.call("build", images)
                definition.call("expect", folder / str(images))
        calls: dict[tuple[int, str], dict[str, Any]] = {
            (N, work): {} for N in self.settings.batches for work in ("inference", "training step")
        }
        for precision in PRECISIONS:
            alike = [entry for entry in self.entries if entry.precision == precision]
            baseline = next((entry for entry in alike if not entry.ours), None)
            for entry in sorted(alike, key=lambda entry: entry is not baseline):
                self._visit(entry, folder, calls)
                self._write_rows(calls)
                self.complete()
            if baseline is not None and len(alike) > 1:
                self._visit_again(baseline, calls)
                self.complete()

    def _visit(self, entry: Entry, folder: Path, calls: Mapping[tuple[int, str], dict[str, Any]]) -> None:
        largest = self.settings.batches[-1]
        with self._excluding(entry, "network"):
            self._in_time()
            free = machine.gpu_state()
            clock = perf_counter()
            with self._start(entry) as worker:
                start_s = perf_counter() - clock
                with self._excluding(entry, f"start, batch {largest}"):
                    self._say(f"{entry.label}: first steps, batch {largest}")
                    self._memory(worker, largest, start_s, free)
                for N in self.settings.batches:
                    with self._excluding(entry, f"batch {N}"):
                        self._in_time()
                        self._say(f"{entry.label}: batch {N}")
                        worker.call("build", N, _distinct(N))
                        self._check(entry, N, None, worker.call("check", folder / str(_distinct(N))))
                        self._time(worker, N, calls)

    def _memory(self, worker: Worker, N: int, start_s: float, free: Mapping[str, float]) -> None:
        """A start as Run.startup has it; and what is taken on the GPU when nothing lies about that is not needed."""
        figures = self._first_steps(worker, start_s, N, _distinct(N))
        worker.call("rest")
        for _ in range(2):
            worker.call("once", figures["work"])
        taken = machine.gpu_state()
        if "memory_mib" in free and "memory_mib" in taken:  # nvidia-smi may fail now and then
            figures["device_mib"] = taken["memory_mib"] - free["memory_mib"]
        self.result["startup"].append({"contender": worker.entry.name, "batch": N, "cache": "none", **figures})

    def _time(self, worker: Worker, N: int, calls: Mapping[tuple[int, str], dict[str, Any]]) -> None:
        for work in worker.call("works"):
            calls[N, work] |= self._turns([worker], f"{work}, batch {N}", "run", work).calls
        state = machine.gpu_state()
        self.result["gpu_states"].append({"contender": worker.entry.name, "batch": N, **state})

    def _visit_again(self, entry: Entry, before: Mapping[tuple[int, str], Mapping[str, Any]]) -> None:
        """The first of a precision once more: how much has the GPU changed meanwhile?"""
        with self._excluding(entry, "again"):
            self._in_time()
            self._say(f"{entry.label}: again")
            calls: dict[tuple[int, str], dict[str, Any]] = {key: {} for key in before}
            with self._start(entry) as worker:
                for N in self.settings.batches:
                    worker.call("build", N, _distinct(N))
                    self._time(worker, N, calls)
            for (N, work), now in calls.items():
                if entry.name in now and entry.name in before[N, work]:
                    times = [median(median(turn) for turn in turns[entry.name]) for turns in (before[N, work], now)]
                    what = {"contender": entry.name, "batch": N, "work": work}
                    self.result["again"].append({**what, "change": times[1] / times[0] - 1})

    def _write_rows(self, calls: Mapping[tuple[int, str], Mapping[str, Any]]) -> None:
        self.result["network"] = [
            self._network_row(N, work, name, figure)
            for (N, work), of_all in calls.items()
            for name, figure in self._statistics(of_all).items()
        ]

    # ---- single layers

    def single_layers(self, folder: Path) -> None:
        N = LAYERS_BATCH if LAYERS_BATCH in self.settings.batches else self.settings.batches[-1]
        able = [entry for entry in self.entries if entry.layers]
        if perf_counter() <= self.end:
            self._say(f"what is expected of layers alone, batch {N}")
            with self._start(DEFINITION) as definition:
                for rounded in sorted({_rounded(entry) for entry in able}):
                    for layer in problem.LAYERS:
                        (folder / str(rounded) / layer.name).mkdir(parents=True)
                        definition.call("build_layer", layer.name, N, rounded)
                        definition.call("expect_layer", folder / str(rounded) / layer.name)
        calls: dict[tuple[str, str], dict[str, Any]] = {
            (layer.name, direction): {} for layer in problem.LAYERS for direction in ("forward", "backward")
        }
        for entry in able:
            with self._excluding(entry, "layers"):
                self._in_time()
                self._say(f"{entry.label}: layers alone, batch {N}")
                with self._start(entry) as worker:
                    for layer in problem.LAYERS:
                        with self._excluding(entry, layer.name):
                            self._in_time()
                            worker.call("build_layer", layer.name, N, _rounded(entry))
                            expected = folder / str(_rounded(entry)) / layer.name
                            self._check(entry, N, layer.name, worker.call("check_layer", expected))
                            for name, turns in self._turns([worker], layer.name, "run_layer").calls.items():
                                for direction in ("forward", "backward"):
                                    calls[layer.name, direction][name] = [turn[direction] for turn in turns]
            self.result["layers"] = [
                self._layer_row(N, problem.BY_NAME[layer], direction, name, figure)
                for (layer, direction), of_all in calls.items()
                for name, figure in self._statistics(of_all).items()
            ]
            self.complete()

    # ---- what is of the device

    def _say(self, text: str) -> None:
        super()._say(f"{perf_counter() - self.start:4.0f} s  {text}")

    def restrict(self) -> None:
        """The cores only begin what the GPU does: everybody has them all."""

    def ceilings(self) -> None:
        """By PyTorch, if it is there: what a large product and a large copy reach on this GPU."""
        self._say("the GPU's ceilings")
        self.result["machine"]["gpu"] = "a GPU"
        try:
            if not CEILINGS.missing:
                with self._start(CEILINGS) as worker:
                    self.result["machine"] |= worker.call("ceilings", self.device)
        except ContenderError as error:
            self._say(f"the GPU's ceilings are not measured: {error}")

    def _in_time(self) -> None:
        if perf_counter() > self.end:
            raise ContenderError(f"the time was over (--minutes {self.settings.minutes:g})")


def _rounded(entry: Entry) -> bool:
    """Whether a layer alone gets rounded numbers: in other precisions the gate would not see whether they are kept."""
    return entry.precision == "bfloat16"


def _distinct(N: int) -> int:
    """How many images of a batch of N differ."""
    return DISTINCT if N % DISTINCT == 0 else N
