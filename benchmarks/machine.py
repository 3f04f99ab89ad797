"""What the figures were measured on: processor, cores, libraries, memory; and who else was using it."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import psutil
except ImportError:  # a machine for `benchmarks gpu` need not have it: see Load, rss_mib
    psutil = None

MIB = 2**20


def describe(threads: int) -> dict[str, Any]:
    """The machine, as it stands in a result."""
    return {
        "cpu": _cpu_name(),
        "simd": _simd(),
        "cores": os.cpu_count(),
        "cores_allowed": cores_allowed(),
        "threads": threads,
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def cores_allowed() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def restrict(threads: int) -> None:
    """Keep this process and those that it starts to as many cores as threads, where the system offers it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def blas(pools: Iterable[Mapping[str, Any]]) -> list[str]:
    """threadpoolctl's report in words: "OpenBLAS 0.3.31 (SkylakeX kernels, 2 threads)"."""
    words = []
    for pool in pools:
        if pool["user_api"] == "blas":
            name = {"openblas": "OpenBLAS", "mkl": "MKL"}.get(pool["internal_api"], pool["internal_api"])
            kernels = f"{pool['architecture']} kernels, " if pool.get("architecture") else ""
            words.append(f"{name} {pool['version']} ({kernels}{pool['num_threads']} threads)")
    return words


def commit(root: Path) -> str | None:
    """The revision of the project, "+" where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return _output(command, cwd=root)
    except (OSError, subprocess.CalledProcessError):
        return None


def rss_mib() -> float:
    """Main memory of this process now, MiB."""
    if sys.platform == "linux":
        return _status("VmRSS") / 1024
    return psutil.Process().memory_info().rss / MIB


def peak_mib() -> float:
    """Main memory of this process at most, since reset_peak where that works and else since its start. MiB."""
    if sys.platform == "linux":
        # Not getrusage: its ru_maxrss also counts the process that this one was forked from.
        return _status("VmHWM") / 1024
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / MIB
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB


def reset_peak() -> None:
    """Let peak_mib start again from now: on Linux, where that is allowed."""
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


# What nvidia-smi is asked for, and what it is called here
GPU_STATE = {
    "memory.used": "memory_mib",
    "clocks.sm": "sm_mhz",
    "clocks.max.sm": "sm_most_mhz",
    "temperature.gpu": "celsius",
    "power.draw": "watts",
}


def gpu_state() -> dict[str, float]:
    """Of the first GPU that programs see, now: the memory that is taken, the cores' clock, temperature, power.

    Without what nvidia-smi does not say; empty where it is not installed. It counts alike for all frameworks, CUDA's
    share included.
    """
    device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
    command = ["nvidia-smi", f"--id={device}", f"--query-gpu={','.join(GPU_STATE)}", "--format=csv,noheader,nounits"]
    try:
        values = _output(command).splitlines()[0].split(",")
    except (OSError, subprocess.CalledProcessError, IndexError):
        return {}
    state = {}
    for name, value in zip(GPU_STATE.values(), values, strict=False):
        with suppress(ValueError):  # "[N/A]"
            state[name] = float(value)
    return state


class Load:
    """Seconds of processor time since the object was made: of these processes, and of all others.

    Nothing is seen where psutil is not installed.
    """

    def __init__(self, processes: Iterable[int]) -> None:
        self.processes = [psutil.Process(pid) for pid in processes] if psutil else []
        self.start = self._now()

    def _now(self) -> tuple[float, dict[int, float]]:
        if not psutil:
            return 0.0, {}
        system = psutil.cpu_times()
        busy = sum(system) - system.idle - getattr(system, "iowait", 0) - getattr(system, "guest", 0)
        return busy, {p.pid: sum(p.cpu_times()[:2]) for p in self.processes if p.is_running()}

    def seconds(self) -> tuple[dict[int, float], float]:
        """pid -> seconds, and the seconds of everything else on the machine."""
        busy, own = self._now()
        used = {pid: seconds - self.start[1][pid] for pid, seconds in own.items()}
        return used, max(0.0, busy - self.start[0] - sum(used.values()))


def _status(name: str) -> int:
    """A line of what Linux says about this process."""
    return int(Path("/proc/self/status").read_text().partition(f"{name}:")[2].split()[0])


def _memory_gib() -> float:
    if psutil:
        return round(psutil.virtual_memory().total / 2**30, 1)
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        return _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return platform.processor() or platform.machine()


def _output(command: list[str], cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def _simd() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")):
        if flag in flags:
            return name
    return platform.machine()
