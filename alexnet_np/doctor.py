"""What this machine and installation offer, what is wrong with them, and how to mend it."""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from . import __version__, backend

REQUIRED = ("numba", "pillow", "safetensors", "threadpoolctl", "tqdm")
DEMO = ("matplotlib", "scikit-learn")

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")

GIB = 2**30
TRAINING_MEMORY = 2 * GIB  # 61 million parameters, their gradients and velocities, and a batch of small pictures


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    ``level`` is "ok"; "note" for what works, but slower or without something; or "problem" for what does
    not work. ``remedy`` says what to do about it.
    """

    level: str
    subject: str
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """All findings, problems or not."""
    return [
        _package(),
        Finding("ok", "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _cores(),
        _memory(),
        *_blas(),
        *_numba(),
        *_gpu(),
        *(_library(name, "problem", f"pip install {name}") for name in REQUIRED if name != "numba"),
        *(_library(name, "note", "pip install 'alexnet-np[demo]'") for name in DEMO),
    ]


def report(findings: list[Finding]) -> str:
    """The findings as a table, and how many of them need attention."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.subject:<{width}}  {finding.text}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    levels = [finding.level for finding in findings]
    problems, notes = levels.count("problem"), levels.count("note")
    verdict = "Something is wrong" if problems else "All is well" if not notes else "It works, and could be better"
    return "\n".join([*lines, "", f"{verdict}: {_plural(problems, 'problem')}, {_plural(notes, 'note')}."])


def _package() -> Finding:
    location = Path(__file__).parent
    if find_spec("alexnet_np.kernels") is None:
        return Finding(
            "problem",
            "alexnet-np",
            f"{__version__} in {location}, a checkout's folder that is not installed: alexnet_np.kernels is missing",
            "pip install -e . in the checkout, or start Python in another folder",
        )
    return Finding("ok", "alexnet-np", f"{__version__} in {location}")


def _cores() -> Finding:
    usable, there = usable_cores(), os.cpu_count() or 1
    text = f"{usable} of {there} may be used"
    chosen = os.environ.get("ALEXNET_NP_NUM_THREADS")
    if problem := _threads_problem():
        return Finding("problem", "cores", f"{text}; {problem}", "unset ALEXNET_NP_NUM_THREADS")
    if chosen and chosen != str(usable):
        text = f"{text}, ALEXNET_NP_NUM_THREADS={chosen}"
        return Finding("note", "cores", text, "unset ALEXNET_NP_NUM_THREADS to use them all")
    return Finding("ok", "cores", text)


def _threads_problem() -> str | None:
    return backend.threads_problem() if find_spec("alexnet_np.kernels") else None


def usable_cores() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> Finding:
    try:
        page, total, free = (os.sysconf(name) for name in ("SC_PAGE_SIZE", "SC_PHYS_PAGES", "SC_AVPHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # Windows, macOS
        return Finding("ok", "memory", "cannot be told on this system")
    text = f"{page * total / GIB:.1f} GiB, {page * free / GIB:.1f} GiB of it unused"
    if page * total < TRAINING_MEMORY:
        return Finding("note", "memory", f"{text}; training AlexNet takes about {TRAINING_MEMORY / GIB:.0f} GiB")
    return Finding("ok", "memory", text)


def _blas() -> Iterator[Finding]:
    import numpy as np
    from threadpoolctl import threadpool_info

    yield Finding("ok", "NumPy", np.__version__)
    # NumPy's own library: others (SciPy's, PyTorch's) may be loaded beside it.
    libraries = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    if not libraries:
        yield Finding("ok", "BLAS", "one that threadpoolctl does not know (Apple's Accelerate is such a one)")
        return
    pool = libraries[0]
    kernels, threads = pool.get("architecture", "unknown"), pool["num_threads"]
    text = f"{pool['internal_api']} {pool['version']}, {kernels} kernels, {_plural(threads, 'thread')}"
    if core_type := os.environ.get("OPENBLAS_CORETYPE"):
        yield Finding(
            "note",
            "BLAS",
            f"{text}; OPENBLAS_CORETYPE={core_type} keeps OpenBLAS from choosing the kernels for this CPU: "
            "with AVX2's on a CPU that has AVX-512, matrix products take twice as long",
            "unset OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE",
        )
    elif threads < usable_cores():
        yield Finding("note", "BLAS", text, f"unset {', '.join(THREAD_VARIABLES)} to use all cores")
    else:
        yield Finding("ok", "BLAS", text)


def _numba() -> Iterator[Finding]:
    finding = _library("numba", "problem", "pip install numba")
    if finding.level == "ok" and os.environ.get("NUMBA_DISABLE_JIT", "0") != "0":
        text = f"{finding.text}; NUMBA_DISABLE_JIT is set: the cpu kernels would run as plain Python"
        finding = Finding("problem", "numba", text, "unset NUMBA_DISABLE_JIT")
    yield finding
    if finding.level != "ok" or _threads_problem():
        return
    folder = backend.compiled_code_folder()
    if folder is None:
        text = "no folder can be written: the cpu kernels are compiled anew in every process"
        yield Finding("note", "compiled code", text, "set NUMBA_CACHE_DIR to a folder that can be written")
    else:
        files = sum(1 for _ in folder.rglob("*.nbc"))
        yield Finding("ok", "compiled code", f"{_plural(files, 'kernel')} in {folder}")


def _gpu() -> Iterator[Finding]:
    if problem := backend.gpu_problem():
        yield Finding("note", "GPU", problem.removeprefix("device gpu: "))
        return
    cupy: Any = import_module("cupy")
    runtime = cupy.cuda.runtime
    for number in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(number)
        with cupy.cuda.Device(number):
            free, total = runtime.memGetInfo()
        name = properties["name"].decode()
        yield Finding("ok", f"GPU {number}", f"{name}, {total / GIB:.0f} GiB, {free / GIB:.0f} GiB of it free")
    yield Finding("ok", "CUDA", f"runtime {runtime.runtimeGetVersion()}, driver {runtime.driverGetVersion()}")
    yield Finding("ok", "CuPy", cupy.__version__)


def _library(name: str, level: str, remedy: str) -> Finding:
    """Its version; a finding of this level where it is not installed."""
    try:
        return Finding("ok", name, version(name))
    except PackageNotFoundError:
        return Finding(level, name, f"is not installed for {sys.executable}", remedy)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
