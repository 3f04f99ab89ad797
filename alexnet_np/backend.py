"""The one place that picks an array library and a kernel book for a device.

    device        arrays   kernels
    "reference"   NumPy    kernels/reference: the definition
    "cpu"         NumPy    kernels/cpu, and reference for what that book leaves out
    "gpu"         CuPy     kernels/gpu, and reference for what that book leaves out

Nothing is imported before it is needed: Numba with the first cpu kernel, CuPy with device "gpu".
"""

from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

DEVICES = ("reference", "cpu", "gpu")
ALGORITHMS = ("auto", "winograd", "im2col")
PRECISIONS = ("float32", "tf32", "bfloat16")


class DeviceError(RuntimeError):
    """A device that this machine cannot offer, or not as the environment asks for it."""


class Backend:
    """An array library (``xp``) and the functions to use on its arrays (``kernels``)."""

    def __init__(self, device: str, algorithm: str = "auto", precision: str = "float32") -> None:
        self.device = device
        self.algorithm = algorithm
        self.precision = precision

    def __repr__(self) -> str:
        return f"Backend({self.device!r})"

    def __reduce__(self) -> Any:
        # Copies and pickles of layers share the one backend of a device.
        return get, (self.device, self.algorithm, self.precision)

    @cached_property
    def xp(self) -> ModuleType:
        """numpy or cupy."""
        return import_module("cupy") if self.device == "gpu" else np

    @cached_property
    def kernels(self) -> SimpleNamespace:
        """Every kernel by its name: the device's own, or else the reference backend's.

        DeviceError on "cpu" where ALEXNET_NP_NUM_THREADS says no number of threads.
        """
        if self.device == "cpu" and (problem := threads_problem()):
            raise DeviceError(problem)
        functions: dict[str, Any] = {}
        for book in dict.fromkeys(("reference", self.device)):
            module = import_module(f"alexnet_np.kernels.{book}")
            functions |= {name: getattr(module, name) for name in module.__all__}
        if self.algorithm != "auto":
            functions |= module.with_algorithm(self.algorithm)
        if self.precision != "float32":
            functions |= module.with_precision(self.precision)
        return SimpleNamespace(**functions)

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """The array on this device, C-contiguous; copied only where device, dtype or order differ."""
        if self.device == "gpu":  # CuPy's ascontiguousarray takes no arrays of NumPy
            return self.xp.asarray(array, dtype, order="C")
        return np.asarray(to_numpy(array), dtype, order="C")  # ascontiguousarray gives a scalar an axis

    def generator(self, rng: Any) -> Any:
        """``rng`` itself where it draws this device's arrays, else a new generator seeded from it."""
        if self.device == "gpu":
            philox = import_module("alexnet_np.kernels.gpu").PhiloxGenerator
            return rng if isinstance(rng, philox) else philox(int(rng.integers(2**62)), self.xp)
        return rng if isinstance(rng, np.random.Generator) else np.random.default_rng(int(rng.integers(2**62)))


def get(device: str, algorithm: str = "auto", precision: str = "float32") -> Backend:
    """The backend of a device: with "cpu" the convolution algorithm to use wherever it can be, with "gpu" how precisely
    float32 is multiplied (kernels/gpu/precision.py).

    There is one for each. Raises ValueError for an unknown name, DeviceError where "gpu" finds no CuPy or no
    CUDA device.
    """
    return _get(device, algorithm, precision)  # cached by position: get("cpu") and get("cpu", "auto") are one


@cache
def _get(device: str, algorithm: str, precision: str) -> Backend:
    for name, value, known in (
        ("device", device, DEVICES),
        ("algorithm", algorithm, ALGORITHMS),
        ("precision", precision, PRECISIONS),
    ):
        if value not in known:
            raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
    if algorithm != "auto" and device != "cpu":
        raise ValueError(f"algorithm: device {device} has only its own, expected 'auto', got {algorithm!r}")
    if precision != "float32" and device != "gpu":
        raise ValueError(f"precision: device {device} has only its own, expected 'float32', got {precision!r}")
    if device == "gpu" and (problem := gpu_problem()):
        raise DeviceError(problem)
    if precision == "bfloat16" and find_spec("ml_dtypes") is None:
        raise DeviceError("precision bfloat16: ml_dtypes is not installed (pip install ml_dtypes)")
    return Backend(device, algorithm, precision)


def compiled_code_folder() -> Path | None:
    """Where the cpu book keeps its compiled code for the next process; None where no folder can be written."""
    folder: Path | None = import_module("alexnet_np.kernels.cpu.jit").cache_folder()
    return folder


def threads_problem() -> str | None:
    """What is wrong with ALEXNET_NP_NUM_THREADS, in a sentence; None where nothing is."""
    try:
        import_module("alexnet_np.kernels.thread_count").chosen_threads()
    except ValueError as error:
        return str(error)
    return None


def gpu_problem() -> str | None:
    """Why device "gpu" cannot be used, in a sentence; None where it can."""
    if find_spec("cupy") is None:
        return "device gpu: CuPy is not installed (pip install 'alexnet-np[gpu13]', or [gpu12] for CUDA 12)"
    try:
        cupy = import_module("cupy")
    except ImportError as error:
        return f"device gpu: CuPy is installed but cannot be imported ({error})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"device gpu: CuPy {cupy.__version__} finds no CUDA device ({error})"
    return None if count else f"device gpu: CuPy {cupy.__version__} finds no CUDA device"


def of(array: Any, name: str = "array") -> Backend:
    """The backend for arrays of this kind: "gpu" for CuPy's, "cpu" for NumPy's. ``name`` is for the TypeError."""
    if isinstance(array, np.ndarray | np.generic):
        return get("cpu")
    if type(array).__module__.partition(".")[0] == "cupy":
        return get("gpu")
    raise TypeError(f"{name}: expected a NumPy or CuPy array, got {type(array).__name__}")


def to_numpy(array: Any) -> np.ndarray:
    """The array in main memory, as NumPy's; copied only where it was on a GPU."""
    return array.get() if type(array).__module__.partition(".")[0] == "cupy" else np.asarray(array)
