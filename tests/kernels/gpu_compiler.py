"""Compiles the gpu book for GPUs that need not be there, and says what became of it.

    python tests/kernels/gpu_compiler.py

takes every .cu file in every dtype and width for every architecture: with NVRTC, as CuPy does, which needs no driver
(pip install nvidia-cuda-nvrtc), or with nvcc where only that is. Each kernel's registers are printed, those of its most
demanding variant; it fails where one does not compile, or where values did not find room in registers ("spilled").
"""

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import NamedTuple

launcher = import_module("alexnet_np.kernels.gpu.launch")

ARCHITECTURES = ("sm_80", "sm_90", "sm_120")  # A100, H100 and H200, the 50 series of consumers' cards
VARIANTS = (("float32", 4), ("float32", 1), ("float64", 2), ("float64", 1), ("bfloat16", 8), ("bfloat16", 1))
FILES = sorted({kernel.file for kernel in launcher.kernels().values()})


class Usage(NamedTuple):
    """Of a kernel: registers of a thread, bytes that did not find a place in registers."""

    kernel: str
    registers: int
    spilled: int


def compiler():
    """What is used here, in words; None where there is neither."""
    return "NVRTC" if nvrtc() else "nvcc" if shutil.which("nvcc") else None


def compile(file, dtype, width, architecture):
    """The Usage of every kernel of a file. RuntimeError with the compiler's words where it does not compile."""
    options = [*launcher.options(dtype, width), "-ftz=true", f"-arch={architecture}"]  # CuPy adds the second
    log = (by_nvrtc if nvrtc() else by_nvcc)(launcher.source(file), options)
    pattern = (
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"
    )
    found = re.findall(pattern, log, re.DOTALL)
    usages = [Usage(name, int(used), int(stored) + int(loaded)) for name, stored, loaded, used in found]
    expected = {name for name, kernel in launcher.kernels().items() if kernel.file == file}
    if {usage.kernel for usage in usages} != expected:
        raise RuntimeError(f"{file}.cu: expected a report of {', '.join(sorted(expected))}, got:\n{log}")
    return usages


def by_nvcc(text, options):
    """The words of nvcc's ptxas."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.cu"
        path.write_text(text, "utf-8")
        command = ["nvcc", *options, "-Werror=all-warnings", "-cubin", "-Xptxas=-v", "-o", f"{path}.cubin", str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    return result.stderr


@cache
def nvrtc():
    """The library of the PyPI package; None where it is not installed."""
    for folder in map(Path, sys.path):
        for path in sorted(folder.glob("nvidia/*/lib/libnvrtc.so.*")):
            return ctypes.CDLL(str(path))
    return None


def by_nvrtc(text, options):
    """The words of NVRTC's ptxas."""
    library, program = nvrtc(), ctypes.c_void_p()
    given = [option.encode() for option in (*options, "--ptxas-options=-v")]
    library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernels.cu", 0, None, None)
    status = library.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    library.nvrtcDestroyProgram(ctypes.byref(program))
    if status:
        raise RuntimeError(log.value.decode())
    return log.value.decode()


def main():
    most, spilled = defaultdict(int), []
    for file, (dtype, width), architecture in product(FILES, VARIANTS, ARCHITECTURES):
        for usage in compile(file, dtype, width, architecture):
            most[file, usage.kernel] = max(most[file, usage.kernel], usage.registers)
            if usage.spilled:
                spilled.append(f"{usage.kernel} in {dtype}, {width} at once, for {architecture}: {usage.spilled} bytes")
    print(f"{compiler()}, {', '.join(ARCHITECTURES)}: {len(most)} kernels, {len(VARIANTS)} variants\n")
    for (file, kernel), registers in most.items():
        print(f"{file + '.cu':16}{kernel:32}{registers:4} registers")
    print("\nspilled: " + ("; ".join(spilled) or "nothing"))
    return bool(spilled)


if __name__ == "__main__":
    sys.exit(main())
