"""The gpu book on a machine without a GPU: the same .cu files, compiled as C++, on NumPy arrays.

``install`` makes kernels.gpu run that way, and gives its functions. gpu/host/cuda_on_host.h says what CUDA's words mean
there. With ALEXNET_NP_SANITIZE=1 everything is compiled with the address and undefined behaviour sanitizers; Python has
to be started with the first one's library, as in .github/workflows/ci.yml.
"""

import atexit
import ctypes
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache, cached_property, wraps
from importlib import import_module
from pathlib import Path

import numpy as np

from alexnet_np import backend

launcher = import_module("alexnet_np.kernels.gpu.launch")
conv = import_module("alexnet_np.kernels.gpu.conv")

HEADER = Path(__file__).parent / "gpu" / "host" / "cuda_on_host.h"
SANITIZE = os.environ.get("ALEXNET_NP_SANITIZE") == "1"
WORKSPACE = 1 << 12  # bytes of columns: so few that a small batch, too, has several parts


def compiler():
    """The system's C++ compiler; None where there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((path for path in map(shutil.which, names) if path), None)


def problem():
    """Why the gpu book cannot run here, in a sentence; None where it can."""
    if not sys.platform.startswith("linux"):
        return f"the gpu book's kernels run on the CPU of a Linux machine, this one has {platform.system()}"
    return (
        None if compiler() else "the gpu book's kernels run on the CPU where a C++ compiler is, expected g++ or clang++"
    )


class Host:
    """Compiles files as they are needed, and runs their kernels. ``edit`` may change their text first."""

    def __init__(self, edit=lambda file, text: text):
        self.edit = edit
        self.reversed = False  # blocks and threads from the last to the first
        self.library = cache(self.library)

    @cached_property
    def folder(self):
        path = tempfile.mkdtemp(prefix="alexnet-np-gpu-")
        atexit.register(shutil.rmtree, path)
        return Path(path)

    def library(self, file, dtype, width):
        """The compiled file for elements of a dtype, ``width`` of them at once."""
        text = self.edit(file, launcher.source(file))
        doors = [f"DOOR({name})" for name, kernel in launcher.kernels().items() if kernel.file == file]
        path = self.folder / f"{file}-{dtype}-{width}.cpp"
        path.write_text("\n".join([f'#include "{HEADER}"', f'#line 1 "{file}.cu"', text, *doors]), "utf-8")
        checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"] if SANITIZE else []
        options = ["-O1", "-shared", "-fPIC", "-fno-strict-aliasing", "-Wno-unknown-pragmas", *checks]
        library = path.with_suffix(".so")
        command = [compiler(), *launcher.options(dtype, width), *options, "-o", str(library), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return ctypes.CDLL(str(library))

    def launch(self, file, name, dtype, width, grid, block, arguments):
        door = getattr(self.library(file, dtype, width), f"launch_{name}")
        kept = [self.value(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(kept))(*(value.ctypes.data for value in kept))
        pair = ctypes.c_int * 2
        assert door(pair(*grid), pair(*block), addresses, int(self.reversed)) == 0, (
            f"{name}: some threads of a block did not come to __syncthreads()"
        )

    @staticmethod
    def value(argument):
        """What a kernel receives: an address for an array, the bytes of anything else."""
        if isinstance(argument, np.ndarray) and argument.dtype.names is None:
            return np.array([argument.ctypes.data], np.uint64)
        return np.atleast_1d(argument)


HOST = Host()


@cache
def install(precision="float32"):
    """The backend of device "gpu" with NumPy's arrays; kernels run on them from here to the end of the process."""
    launcher.use(HOST)
    emulated = backend.Backend("gpu", precision=precision)
    emulated.xp = np
    for name, function in vars(emulated.kernels).items():
        if name.startswith("conv2d"):
            setattr(emulated.kernels, name, _in_small_parts(function))
    return emulated


def _in_small_parts(function):
    """The function; columns have little room during its calls, and as much as before for whoever else there is."""

    @wraps(function)
    def in_small_parts(*arguments, **options):
        room, conv.WORKSPACE = conv.WORKSPACE, WORKSPACE
        try:
            return function(*arguments, **options)
        finally:
            conv.WORKSPACE = room

    return in_small_parts


def pretend(monkeypatch):
    """For the length of a test, ``net.to("gpu")`` finds such a device."""
    get = backend._get

    def get_or_emulate(device, algorithm, precision):
        return install(precision) if device == "gpu" else get(device, algorithm, precision)

    monkeypatch.setattr(backend, "_get", get_or_emulate)
