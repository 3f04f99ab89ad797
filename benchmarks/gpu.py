"""The same benchmark on a GPU: python -m benchmarks gpu.

The work, the gate, the turns and the report are those of the CPU. What differs is here: who takes part, each in three
precisions, and that figures are read against what the GPU itself can do, measured in the same run.
"""

from collections.abc import Sequence
from typing import Any

from alexnet_np import backend

from .contenders import Entry
from .run import Run
from .worker import ContenderError

PRECISIONS = {"float32": "float32", "tf32": "TF32", "bfloat16": "bfloat16"}
QUICK: dict[str, Any] = {"batches": (128,), "rounds": 2, "turn_s": 0.3, "parts": ("network",)}
BATCHES = (1, 128, 512, 1024)
CEILINGS = Entry("ceilings", "ceilings", "torch")


def field(ours: str = "gpu", torch: str = "cuda", jax: str = "cuda") -> tuple[Entry, ...]:
    """Everybody, on these devices: other ones than a GPU's are for trying the whole thing out where there is none."""
    entries: list[Entry] = []
    for precision, words in PRECISIONS.items():
        own = {"device": ours, "precision": precision}
        peer = {"device": torch, "precision": precision, "layout": "channels_last"}
        fastest = {**peer, "compiled": "max-autotune"}
        entries += [
            Entry(precision, f"alexnet-np {words}", "alexnet_np", own, layers=True),
            Entry(f"{precision}-eager", f"alexnet-np {words}, eager", "alexnet_np", {**own, "graph": False}),
            Entry(f"torch-{precision}", f"PyTorch {words}", "torch", peer, layers=True),
            Entry(f"compile-{precision}", f"PyTorch {words}, max-autotune", "torch", fastest, quick=False),
            Entry(f"jax-{precision}", f"JAX {words}", "jax", {"device": jax, "precision": precision}, layers=True),
        ]
    return tuple(entries)


def problem() -> str | None:
    """Why there can be no run here, in a sentence."""
    return backend.gpu_problem()


class GpuRun(Run):
    """A run whose contenders compute on a GPU, one at a time."""

    field: Sequence[Entry] = field()
    rounded = True
    device = "cuda"  # of the ceilings

    def restrict(self) -> None:
        """The cores only begin what the GPU does: everybody has them all."""

    def ceilings(self) -> None:
        """By PyTorch, if it is there: what a large product and a large copy reach on this GPU."""
        self.result["machine"]["gpu"] = "a GPU"
        try:
            if not CEILINGS.missing:
                with self._start(CEILINGS) as worker:
                    self.result["machine"] |= worker.call("ceilings", self.device)
        except ContenderError as error:
            self._say(f"the GPU's ceilings are not measured: {error}")
