"""Tests that need a GPU: pytest -m gpu. Where there is none they are skipped, and say why.

Most are asked of a pretended GPU as well (tests/pretended_gpu.py), so that they run everywhere, and are right when
somebody has a GPU. Only NumPy, CuPy, Numba, PyTorch and pytest are needed with ``-m gpu``. Under the checkers of CUDA:

    compute-sanitizer --tool memcheck  python -m pytest -m gpu -x
    compute-sanitizer --tool racecheck python -m pytest -m gpu -x -k kernels
    compute-sanitizer --tool initcheck python -m pytest -m gpu -x -k kernels
"""

import sys
import warnings
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what others warn of as they are imported is no failure of ours
    import numba  # noqa: F401
    import torch  # noqa: F401

sys.path.append(str(Path(__file__).parents[1] / "kernels"))

from pretended_gpu import gpu_book_problem, pretend_with_gpu_book

from alexnet_np import backend

GPU = pytest.param("gpu", marks=pytest.mark.gpu)


def _cupy():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's import, too
        problem = backend.gpu_problem()
    if problem:
        pytest.skip(problem)
    return backend.get("gpu").xp


@pytest.fixture(params=[GPU, "pretended"])
def cupy(request, monkeypatch):
    """CuPy, or what is pretended to be it."""
    if request.param == "gpu":
        return _cupy()
    if problem := gpu_book_problem():
        pytest.skip(problem)
    return pretend_with_gpu_book(monkeypatch)


@pytest.fixture(params=[GPU])
def real_cupy(request):
    """CuPy; nothing else will do."""
    return _cupy()


@pytest.fixture(params=["float32", "tf32", "bfloat16"])
def precision(request):
    """A precision that this installation can offer."""
    if request.param == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="precision bfloat16 needs ml_dtypes")
    return request.param
