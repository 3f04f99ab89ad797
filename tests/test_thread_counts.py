"""The kernels, layers and steps of the CPU backend with 1, 2, 3 and 5 threads, each count in a process of its own.

The count is fixed when the backend is imported. float64 is the reference backend's, which has no threads.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = ["test_layers.py", "test_step.py", "kernels/cpu/test_winograd.py", "kernels/cpu/test_gemm.py"]
FILES += [
    f"kernels/test_{name}.py" for name in ["every_kernel", "conv", "linear", "pool", "norm", "fused", "sgd", "dropout"]
]
OTHERS = ("gpu", "reference", "float64", "pretend", "recording", "recorded")  # what has nothing to do with threads


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_kernels_layers_and_steps(count: int) -> None:
    chosen = " and ".join(f"not {word}" for word in OTHERS)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", chosen, *FILES],
        cwd=TESTS,
        env=os.environ | {"ALEXNET_NP_NUM_THREADS": str(count)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
    assert " passed" in result.stdout, "no test was run"


def test_one_core_is_enough() -> None:
    """More tasks than threads, on a machine of one core: a convolution in groups."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system does not say on which cores a process may run")
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import numpy as np\n"
        "from alexnet_np import layers\n"
        "layer = layers.Conv2d(4, 4, 3, groups=2)\n"
        "layer.backward(layer.forward(np.zeros((1, 5, 5, 4), 'f')))\n"
        "print(layer.weight.grad.shape)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ALEXNET_NP_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.stdout.strip() == "(3, 3, 2, 4)", result.stderr
