"""The gate: before it is timed, a contender gives the expected results from the same weights and batch, or is left out.

Expected is what the project's reference book computes in float64 (proved against torchvision by the tests, and here by
every framework that passes). Compared are, with dropout off: the logits, the loss, the 16 gradients, and how far two
optimiser steps move each parameter (the second shows the momentum); for a layer alone y, dx, dw, db.

The error of an array is its relative L2 error, |got - expected| / |expected|. About the tolerances:

- Rounding alone gives 1e-7 to 1e-5, Winograd's method included.
- The gradients of the whole network are another matter. A unit whose input lies within rounding of 0, or a pooling
  window whose two largest pixels do, may go either way: then a whole term of the gradient comes or goes. A few such
  units among millions make an error of 1e-3 to 1e-2, in anybody's float32. A fault, be it in one image of 128,
  makes 5e-2 and more. The last layer's gradients meet no such kink, and neither do layers alone.
- An update is small beside its weight, which is rounded: that makes 1e-4. Two steps without the weight decay are off
  by 1e-2 in the last layer, without the momentum by 0.3 in all.
- TF32 cuts the operands of products to 10 bits behind the point, bfloat16 all activations to 7: SLACK gives each
  its own tolerances. Tensor cores that cut off instead of rounding make logits smaller by 2e-3 to 6e-3. And far more
  units end on the other side of their kink: the first layer's gradient is off by 0.1 in TF32, by 0.25 in bfloat16,
  in anybody's. Of what makes errors of 5e-2 the gate sees it in float32, and in the last layer in all precisions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import problem

TOLERANCES = {"logits": 1e-4, "loss": 1e-5, "gradient": 3e-2, "update": 3e-2, "last": 2e-3, "layer": 1e-4}
SLACK = {
    "float32": TOLERANCES,
    "tf32": {"logits": 1e-2, "loss": 1e-4, "gradient": 2e-1, "update": 2e-1, "last": 2e-2, "layer": 2e-3},
    "bfloat16": {"logits": 2e-2, "loss": 1e-3, "gradient": 4e-1, "update": 4e-1, "last": 5e-2, "layer": 1e-2},
}


def network(contender: Any) -> Iterator[tuple[str, Any]]:
    """What is compared of a network that is fresh: name, array."""
    if hasattr(contender, "set_dropout"):
        contender.set_dropout(0.0)
    yield "logits", contender.logits() if hasattr(contender, "logits") else contender.infer()
    if not hasattr(contender, "step"):
        return
    loss, gradients = contender.gradients()
    yield "loss", np.array(loss)
    for name, gradient in gradients.items():
        yield f"gradient {name}", gradient
    contender.step()
    contender.step()
    start = problem.weights()
    for name, weight in contender.weights().items():
        yield f"update {name}", weight - start[name]


def layer(task: Any) -> Iterator[tuple[str, Any]]:
    """What is compared of a layer alone."""
    task.forward()
    task.backward()
    for name, array in task.results().items():
        yield f"layer {name}", array


def write(folder: Path, results: Iterator[tuple[str, Any]]) -> None:
    for name, array in results:
        np.save(folder / f"{name}.npy", array)


def errors(folder: Path, results: Iterator[tuple[str, Any]]) -> dict[str, float]:
    """The relative L2 error of every result against what was written.

    Of pictures that come again and again in a larger batch (problem.batch), only logits see that there are more.
    """
    found = {}
    for name, array in results:
        expected = np.load(folder / f"{name}.npy", mmap_mode="r")
        if name == "logits" and len(array) % len(expected) == 0:
            expected = np.resize(expected, (len(array), *expected.shape[1:]))
        found[name] = relative_error(array, expected)
    return found


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """|got - expected| / |expected|, summed up in float64; infinite where the shapes differ or something is NaN."""
    if got.shape != expected.shape:
        return float("inf")
    difference = norm = 0.0
    got, expected = np.atleast_1d(got), np.atleast_1d(expected)
    for part, wanted in zip(got, expected, strict=True):
        difference += float(np.square(part - wanted, dtype=np.float64).sum())
        norm += float(np.square(wanted, dtype=np.float64).sum())
    error = (difference / norm) ** 0.5 if norm else float(difference > 0)
    return error if np.isfinite(error) else float("inf")


def objection(errors: dict[str, float], precision: str = "float32") -> str | None:
    """What speaks against timing this contender, in a sentence; None if nothing does."""
    for name, error in errors.items():
        tolerance = SLACK[precision]["last" if problem.LAYERS[-1].key in name else name.split()[0]]
        if not error <= tolerance:
            return f"{name}: relative error {error:.1e}, tolerance {tolerance:.0e}"
    return None


def worst(errors: dict[str, float]) -> dict[str, float]:
    """The largest error of each kind: logits, loss, gradient, update."""
    kinds: dict[str, float] = {}
    for name, error in errors.items():
        kind = name.split()[0]
        kinds[kind] = max(error, kinds.get(kind, 0.0))
    return kinds
