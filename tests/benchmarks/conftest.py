"""The benchmark's own machinery, with contenders that only pretend: nothing here is timed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# benchmarks/ is not installed with the package: it runs from a checkout.
sys.path.append(str(Path(__file__).parents[2]))

from pretender import Pretender

from benchmarks import contenders, machine, measure, run
from benchmarks.worker import ContenderError


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """run(contenders, kind=Run, **settings) -> a result, by pretenders; faults={(contender, method): answer}."""
    monkeypatch.setattr(run, "Worker", Pretender)
    monkeypatch.setattr(machine, "restrict", lambda threads: None)
    monkeypatch.setattr(machine, "gpu_state", Pretender.gpu_state)
    monkeypatch.setattr(measure, "PAUSE_S", 0)
    monkeypatch.setattr(contenders, "find_spec", lambda name: None if name == "jax" else object())
    monkeypatch.setattr(Pretender, "log", [])
    monkeypatch.setattr(Pretender, "deadlines", [])

    def pretended_run(
        names: str = "cpu,reference,pytorch,tensorflow,onnxruntime,jax",
        faults: dict[tuple[str, str], Any] | None = None,
        save: Callable[[Any], None] = lambda result: None,
        kind: type[run.Run] = run.Run,
        **settings: Any,
    ) -> dict[str, Any]:
        monkeypatch.setattr(Pretender, "faults", faults or {})
        defaults = {"batches": (2, 16), "threads": 2, "rounds": 3}
        return kind(run.Settings(contenders=tuple(names.split(",")), **defaults | settings), save)()

    return pretended_run


@pytest.fixture
def result(pretend: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """A whole result: PyTorch fails in its turns of inference."""
    return pretend(faults={("pytorch", "run"): ContenderError("RuntimeError: out of memory")})
