"""Contenders that only pretend: they answer at once, and nothing is computed."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from benchmarks.contenders import Entry

SECONDS = {"cpu": 0.6, "reference": 6.0, "pytorch": 1.8, "tensorflow": 1.2, "onnxruntime": 0.7}


class Pretender:
    """A worker that answers at once: everything takes SECONDS, somewhat longer in every round."""

    log: ClassVar[list[tuple[str, ...]]] = []  # what all of them were asked; emptied by the fixture
    deadlines: ClassVar[list[float]] = []  # that they were given; emptied likewise
    alive: ClassVar[list[str]] = []  # those on a GPU now
    taken_mib: ClassVar[float] = 3.0
    faults: ClassVar[dict[tuple[str, str], Any]] = {}  # (contender, method) -> what its answer is instead

    def __init__(self, entry: Entry, threads: int, deadline: float, **variables: str) -> None:
        self.entry = entry
        self.deadlines.append(deadline)
        self.process = SimpleNamespace(pid=os.getpid())
        self.info = {
            "version": f"1.{len(entry.module)}",
            "blas": ["OpenBLAS 0.3 (Haswell kernels, 2 threads)"],
            "rss_mib": 99.0,
        }
        self.calls = 0

    def __enter__(self) -> "Pretender":
        Pretender.alive.append(self.entry.name)
        return self

    def __exit__(self, *_: Any) -> None:
        Pretender.alive.remove(self.entry.name)
        Pretender.taken_mib = 3.0

    def call(self, method: str, *arguments: Any) -> Any:
        self.log.append((self.entry.name, method, *map(str, arguments)))
        fault = self.faults.get((self.entry.name, method))
        if isinstance(fault, Exception):
            raise fault
        if fault is not None:
            return fault
        return getattr(self, method)(*arguments)

    @staticmethod
    def gpu_state() -> dict[str, float]:
        """Of a GPU that has almost nothing on it before a step, and 2222 MiB more behind it."""
        return {"memory_mib": Pretender.taken_mib, "sm_mhz": 1980.0, "celsius": 50.0, "watts": 300.0}

    def build(self, N: int, distinct: int | None = None) -> float:
        return 0.1

    def works(self) -> list[str]:
        return ["inference"] if self.entry.name == "onnxruntime" else ["inference", "training step"]

    def check(self, folder: Path) -> dict[str, float]:
        return {"logits": 1e-6, "loss": 1e-8, "gradient features.0.weight": 1e-3}

    def run(self, work: str, seconds: float) -> list[float]:
        self.calls += 1
        return [SECONDS[self.entry.name] * (1 + 0.01 * self.calls) * factor for factor in (1.0, 1.1, 1.2)]

    def check_layer(self, folder: Path) -> dict[str, float]:
        return {"layer y": 1e-6, "layer dw": 2e-6}

    def run_layer(self, seconds: float) -> dict[str, list[float]]:
        return {"forward": [SECONDS[self.entry.name]] * 3, "backward": [2 * SECONDS[self.entry.name]] * 3}

    def memory(self) -> dict[str, float]:
        return {"rss_mib": 700.0, "peak_mib": 1234.0}

    def sgemm(self) -> float:
        return 470.0

    def once(self, work: str) -> None:
        Pretender.taken_mib = 2225.0

    def expect(self, *_: Any) -> None:
        pass

    expect_layer = build_layer = rest = expect
