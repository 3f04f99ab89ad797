"""A process of its own for each contender: the parent's end, Worker, and what runs in the child, Session.

The parent sends (method, arguments) and the child answers, as pickles over the child's stdin and stdout. Whoever is
not asked waits in a read: it computes nothing while others are timed. What a framework prints goes to a log.
"""

import gc
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from math import inf
from pathlib import Path
from threading import Timer
from time import perf_counter
from typing import Any

import numpy as np

from . import correctness, machine, problem
from .contenders import Entry

try:
    from threadpoolctl import threadpool_info, threadpool_limits
except ImportError:  # a machine for `benchmarks gpu` need not have it
    threadpool_info, threadpool_limits = list, (lambda threads: None)

ROOT = Path(__file__).parents[1]
METHODS = {"inference": "infer", "training step": "step"}
WARM_UP = 2  # calls before the first turn, after those of the check: compilers may take a second look
PATIENCE_S = 900  # for one answer; then the child is killed
# Of a GPU:
BURST_S = 0.05  # what is begun before anybody waits for it: waiting after each call would be timed with it
WARM_S = 0.2  # before the first burst of a turn that counts: clocks rise with the work

# Variables that tune arithmetic libraries, compilers and allocators. A user's machine has none of them.
TUNING = (
    *("OPENBLAS_", "GOTO_", "BLIS_", "MKL_", "VECLIB_", "DNNL_", "ONEDNN_"),
    *("OMP_", "GOMP_", "KMP_", "NPROC", "MALLOC_"),
    *("NUMBA_", "ALEXNET_NP_", "TORCH", "PYTORCH_", "ATEN_", "TF_", "XLA_", "JAX_", "ORT_"),
    *("CUPY_", "CUBLAS", "CUDNN_", "NVIDIA_TF32_OVERRIDE", "CUDA_LAUNCH_BLOCKING"),
)


def environment(threads: int, inherited: Mapping[str, str]) -> dict[str, str]:
    """What a child inherits: no tuning variables, and the number of threads for those who take it from here.

    The others are told by their own functions in contenders/. NPROC is XLA's.
    """
    kept = {name: value for name, value in inherited.items() if not name.startswith(TUNING)}
    return {**kept, "ALEXNET_NP_NUM_THREADS": str(threads), "NPROC": str(threads)}


class ContenderError(Exception):
    """A contender that cannot take part, with the reason."""


class Worker:
    """The parent's end. Every method of Session is called by its name: worker.call("build", 16).

    Whatever it was asked for, the child is killed at the ``deadline``, a time of perf_counter.
    """

    def __init__(self, entry: Entry, threads: int, deadline: float = inf, **variables: str) -> None:
        self.entry = entry
        self.deadline = deadline
        self.log = tempfile.TemporaryFile()  # noqa: SIM115, close() closes it
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", str(threads)],
            cwd=ROOT,
            env=environment(threads, os.environ) | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        try:
            pickle.dump(entry, self.process.stdin)
            self.info: dict[str, Any] = self.call("start")
        except ContenderError:
            self.close()
            raise

    def call(self, method: str, *arguments: Any) -> Any:
        """What the method returns in the child. Raises ContenderError where it fails, or the child dies."""
        with suppress(BrokenPipeError):  # it is dead: reading its answer says how
            pickle.dump((method, arguments), self.process.stdin)
            self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):  # a question that it did not live to read
            self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _answer(self) -> Any:
        start = perf_counter()
        patience = max(0.0, min(PATIENCE_S, self.deadline - start))
        timer = Timer(patience, self.process.kill)
        timer.start()
        try:
            error, result = pickle.load(self.process.stdout)
        except EOFError:
            if perf_counter() - start >= patience:
                raise ContenderError(f"no answer in {patience:.0f} s") from None
            code = self.process.wait()
            raise ContenderError(f"its process ended with exit code {code}: {self._last_words()}") from None
        finally:
            timer.cancel()
        if error:
            raise ContenderError(error)
        return result

    def _last_words(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else "no message"


class Session:
    """What the child holds: the framework, then a network and a batch, or one layer."""

    def __init__(self, entry: Entry, threads: int) -> None:
        self.entry = entry
        self.threads = threads
        self.contender: Any = None

    def start(self) -> dict[str, Any]:
        """Import the framework and set its threads."""
        self.module = import_module(f"{__package__}.contenders.{self.entry.module}")
        threadpool_limits(self.threads)
        if hasattr(self.module, "set_threads"):
            self.module.set_threads(self.threads)
        return {
            "version": sys.modules[self.entry.module].__version__,
            "blas": machine.blas(threadpool_info()),
            "rss_mib": machine.rss_mib(),
        }

    def build(self, N: int, distinct: int | None = None) -> float:
        """Make the network and load a batch, in place of what was there: see problem.batch.

        Returns the seconds that went into making weights and images.
        """
        start = perf_counter()
        self.contender = None
        gc.collect()  # in closures of it, it has cycles
        self.rest()
        weights, batch = problem.weights(), problem.batch(N, distinct)
        seconds = perf_counter() - start
        self.contender = self.module.Contender(weights, **self.entry.options)
        self.contender.load(*batch)
        return seconds

    def works(self) -> list[str]:
        """What the contender can do."""
        return [work for work, method in METHODS.items() if hasattr(self.contender, method)]

    def expect(self, folder: Path) -> None:
        """Write what everybody else has to agree with."""
        correctness.write(folder, correctness.network(self.contender))

    def check(self, folder: Path) -> dict[str, float]:
        """The errors against what was written there. Then everything is warm, with dropout on."""
        errors = correctness.errors(folder, correctness.network(self.contender))
        if hasattr(self.contender, "set_dropout"):
            self.contender.set_dropout(problem.DROPOUT)
        for work in self.works() * WARM_UP:
            self.once(work)
        return errors

    def run(self, work: str, seconds: float) -> list[float]:
        """One turn: the seconds of each call, of as many as take at least so long."""
        method = getattr(self.contender, METHODS[work])
        if not hasattr(self.contender, "finish"):
            return [times[0] for times in _turn((method,), seconds)]
        return _bursts(method, self.contender.finish, seconds)

    def once(self, work: str) -> None:
        getattr(self.contender, METHODS[work])()
        if hasattr(self.contender, "finish"):
            self.contender.finish()

    def rest(self) -> None:
        """Give back what a network before, a first step or a compiler has left on a GPU."""
        if hasattr(self.module, "rest"):
            self.module.rest()

    def memory(self) -> dict[str, float]:
        """MiB in main memory now, and at most since this was asked last (since the start, outside Linux)."""
        figures = {"rss_mib": machine.rss_mib(), "peak_mib": machine.peak_mib()}
        machine.reset_peak()
        return figures

    def build_layer(self, name: str, N: int, rounded: bool = False) -> None:
        """Make one layer alone, and its data: see problem.layer_data."""
        layer = problem.BY_NAME[name]
        self.task = self.module.LayerTask(layer, problem.layer_data(layer, N, rounded), **self.entry.options)

    def expect_layer(self, folder: Path) -> None:
        correctness.write(folder, correctness.layer(self.task))

    def check_layer(self, folder: Path) -> dict[str, float]:
        return correctness.errors(folder, correctness.layer(self.task))

    def run_layer(self, seconds: float) -> dict[str, list[float]]:
        """One turn of forward and backward, one after the other."""
        if not hasattr(self.task, "finish"):
            forward, backward = zip(*_turn((self.task.forward, self.task.backward), seconds), strict=True)
            return {"forward": list(forward), "backward": list(backward)}

        def both() -> None:
            self.task.forward()
            self.task.backward()

        # A backward needs a forward before it, and a clock between the two would wait for the GPU.
        forward = _bursts(self.task.forward, self.task.finish, seconds)
        together = _bursts(both, self.task.finish, seconds)
        once = float(np.median(forward))
        return {"forward": forward, "backward": [max(0.0, pair - once) for pair in together]}

    def ceilings(self, device: str) -> dict[str, Any]:
        """What a GPU is and can do, as the contender's framework gets it out: see contenders/torch.py."""
        return self.module.ceilings(device)

    def sgemm(self, size: int = 4096, seconds: float = 1.5) -> float:
        """The best GFLOP/s of NumPy's float32 matrix product."""
        a, b = (np.random.default_rng(seed).random((size, size), dtype=np.float32) for seed in (0, 1))
        times = _turn((lambda: a @ b,), seconds)
        return 2 * size**3 / min(times)[0] / 1e9


def _turn(actions: tuple[Callable[[], Any], ...], seconds: float) -> list[list[float]]:
    """The times of each action, over and over. The first pass, with the caches as others left them, is not counted."""
    for action in actions:
        action()
    passes: list[list[float]] = []
    total = 0.0
    while total < seconds:
        times = []
        for action in actions:
            start = perf_counter()
            action()
            times.append(perf_counter() - start)
        passes.append(times)
        total += sum(times)
    return passes


def _bursts(action: Callable[[], Any], finish: Callable[[], None], seconds: float) -> list[float]:
    """The time of a call, over and over: so many at a time that waiting for their end does not count.

    Like the first call elsewhere, the first WARM_S are not counted.
    """

    def burst(calls: int) -> float:
        start = perf_counter()
        for _ in range(calls):
            action()
        finish()
        return perf_counter() - start

    calls, bursts, warm = 1, 0, 0.0
    while warm < WARM_S or bursts < 4:  # the first calls may compile and record: they say nothing about the others
        taken = burst(calls)
        calls, bursts, warm = max(1, round(calls * BURST_S / taken)), bursts + 1, warm + taken
    times: list[float] = []
    while sum(times) * calls < seconds or not times:
        times.append(burst(calls) / calls)
    return times


def _sentence(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def main(threads: str) -> None:
    """The child: answer until the parent goes away."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a framework prints must not end up among the answers
    session = Session(pickle.load(sys.stdin.buffer), int(threads))
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = None, getattr(session, method)(*arguments)
        except Exception as error:
            traceback.print_exc()
            answer = _sentence(error), None
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
