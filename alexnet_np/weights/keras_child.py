"""Keras's files are read in a process of their own, which may crash, take no end of memory, or never end.

HDF5's library is written in C, and a file of a few kilobytes can do all three. What comes back from the process is not
trusted either:

    8 bytes, the length of the answer | the answer, JSON | the numbers of all arrays, one after another

Where the system can, the process may take so much memory and so many seconds of a core; its wall-clock time has a
limit everywhere.
"""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import IO

import numpy as np

from ..reading import checked, json_value, printable
from . import keras_hdf5
from .keras_files import OtherLayers, import_h5py

CODE = "from alexnet_np.weights import keras_child; keras_child.main()"
MAX_ANSWER = 4 * keras_hdf5.MAX_CONFIG  # bytes, as JSON escapes them
MAX_MEMORY = 400_000_000  # bytes beside the file and what is in it
MAX_SECONDS = 5  # of a core, for a small file; one of a gigabyte takes a second
MAX_WAIT = 120  # seconds by the clock, on a machine that does much else
DTYPES = ("<f2", "<f4", "<f8")


@dataclass(frozen=True)
class Answer:
    """The description of the model in JSON, where there is one; dtype and shape of each array; or what is wrong.

    ``other_layers``: the error is that of a model with other layers than ours.
    """

    config: str | None
    arrays: list[tuple[str, list[int]]]
    error: str | None = None
    other_layers: bool = False


@dataclass(frozen=True)
class Contents:
    """What is in a file: the description of the model, where there is one, and its weights in order, or an error."""

    config: str | None
    arrays: list[np.ndarray]
    error: ValueError | None


def read(path: str | os.PathLike[str]) -> Contents:
    """The contents of a .weights.h5, .h5 or .keras file.

    Raises OSError where it cannot be opened, ValueError where nothing can be made of it, ModuleNotFoundError without
    h5py. Where only the weights are wrong, that is in ``error``.
    """
    if find_spec("h5py") is None:
        import_h5py()  # which says so
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        command = [_python(), "-P", "-W", "ignore", "-c", CODE]
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, stdin=file, stdout=pipe, stderr=pipe, env=_environment())
        assert child.stdout is not None and child.stderr is not None
        late = threading.Event()
        watch = threading.Timer(MAX_WAIT + size / 10e6, _end, (child, late))
        watch.start()
        try:
            return _received(child.stdout, size)
        except EOFError as error:
            said = child.stderr.read()
            raise ValueError(_why(child.wait(), late.is_set(), said)) from error
        finally:
            watch.cancel()
            child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()


def _python() -> str:
    """The interpreter: not ``sys.executable`` where Python is embedded in another program. ValueError without one."""
    from multiprocessing import spawn  # where such a program can say which it is

    if getattr(sys, "frozen", False) or not (python := spawn.get_executable()):
        raise ValueError("it is read in a process of its own, and this program has no Python interpreter to start one")
    return os.fsdecode(python)


def _environment() -> dict[str, str]:
    """Packages are found where they are found here; threads of a BLAS library, which nobody needs, take memory."""
    here = ""
    with suppress(FileNotFoundError):  # it may have been deleted
        here = os.getcwd()
    folders = filter(None, (path or here for path in sys.path))
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OPENBLAS_NUM_THREADS": "1"}


def _end(child: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    child.kill()


def _received(pipe: IO[bytes], size: int) -> Contents:
    """What the process sends. EOFError where it ends before; ValueError where that is no answer of ``main``."""
    length = int.from_bytes(_exactly(pipe.read, 8), "little")
    if length > MAX_ANSWER:
        raise ValueError(f"the process that reads it answers with {length:,} bytes")
    answer: Answer = checked("the answer of the process that reads it", json_value(_exactly(pipe.read, length)), Answer)
    arrays = []
    for dtype, shape in answer.arrays:
        numbers = math.prod(shape)
        if dtype not in DTYPES or min(shape, default=0) < 0 or (size := size - numbers * int(dtype[2:])) < 0:
            raise ValueError("the process that reads it answers with more numbers than the file has")
        array = np.empty(numbers, dtype)
        if numbers and pipe.readinto(array.view(np.uint8).data) < array.nbytes:  # type: ignore[attr-defined]
            raise EOFError
        arrays.append(array.reshape(shape))
    error = (OtherLayers if answer.other_layers else ValueError)(answer.error) if answer.error is not None else None
    return Contents(answer.config, arrays, error)


def _exactly(read: Callable[[int], bytes], length: int) -> bytes:
    content = read(length)
    if len(content) < length:
        raise EOFError
    return content


def _why(code: int, late: bool, said: bytes) -> str:
    """What to say of a process that has ended before its answer."""
    if late or code == -getattr(signal, "SIGXCPU", math.inf):
        return "damaged: h5py takes too long to read it"
    if code < 0:
        return f"damaged: h5py crashed while it read the file (signal {-code})"
    last = said[-1000:].decode(errors="replace").strip().rpartition("\n")[2]
    return f"the process that reads it ended with exit code {code}: {printable(last):.200}"


# ---- in the process


def main() -> None:
    """Answer for the file that is standard input."""
    size = os.fstat(0).st_size
    _limit(MAX_MEMORY + 3 * size, MAX_SECONDS + size // 50_000_000)
    arrays: list[np.ndarray] = []
    config = error = None
    other_layers = False
    try:
        with open(0, "rb", closefd=False) as file:
            h5, config = keras_hdf5.open_file(file)
            arrays = keras_hdf5.arrays(h5, size)
    except MemoryError:
        error = "damaged: h5py takes too much memory to read it"
    except keras_hdf5.DAMAGED as wrong:
        error = f"damaged: {wrong!s:.500}"
    except ValueError as wrong:
        error, other_layers = f"{wrong!s:.1000}", isinstance(wrong, OtherLayers)
    described = [(array.dtype.str, list(array.shape)) for array in arrays]
    answer = json.dumps(asdict(Answer(config, described, error, other_layers))).encode()
    with open(1, "wb", closefd=False) as pipe:
        pipe.write(len(answer).to_bytes(8, "little") + answer)
        for array in arrays:
            pipe.write(array.reshape(-1).view(np.uint8).data)
    os._exit(0)  # what a damaged file has left in h5py is not asked to close


def _limit(memory: int, seconds: int) -> None:
    """Bytes beside those that the process has, and seconds of a core. Nothing where the system has no such limits."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds += math.ceil(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            memory += int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # no Linux, where the address space is not what is taken
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))
