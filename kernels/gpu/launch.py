"""Finds kernels by name, compiles their file for the device and dtype at hand, checks arguments, launches.

The .cu files are the one description of the kernels: names and parameters are read from them. An argument for
``const element* x`` has to be an array in the kernel's dtype, C-contiguous and on the current device; a number becomes
what the parameter says. CuPy compiles (NVRTC) and keeps the result on disk, under a hash of the text and the options.
So the text is made complete in itself: a common.h that was only included could change unnoticed.

Where no GPU is, the same text can be compiled as C++ and run on NumPy arrays: tests/kernels/gpu/host. ``use`` says so.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..array_module import array_module

FOLDER = Path(__file__).parent
# By the dtype of activations: their type in memory, the type of sums, and the dtype of that.
TYPES = {
    "float32": ("float", "float", "float32"),
    "float64": ("double", "double", "float64"),
    "bfloat16": ("bfloat16", "float", "float32"),
}
SCALARS = {
    "int": "int32",
    "offset": "int64",
    "unsigned long long": "uint64",
    "unsigned char": "uint8",
    "float": "float32",
}
BLOCK = 256  # threads; as in common.h
BLOCKS = 1 << 16  # more than this many along one axis go round again
Grid = tuple[int, int]


class Parameter(NamedTuple):
    """Of a kernel: ``const element* x`` is an array of "element" named "x"."""

    type: str
    is_array: bool
    name: str


class Kernel(NamedTuple):
    """Where it is (conv for conv.cu), and what it takes."""

    file: str
    parameters: tuple[Parameter, ...]


class Machine(Protocol):
    """What runs kernels on NumPy arrays."""

    def launch(
        self, file: str, name: str, dtype: str, width: int, grid: Grid, block: Grid, arguments: list[Any]
    ) -> None:
        """Run the kernel of this name on arrays of NumPy, and scalars of the right type."""


_host: Machine | None = None


def use(host: Machine | None) -> None:
    """Run kernels on NumPy arrays on this machine from now on; None: only on CuPy arrays, as at first."""
    global _host
    _host = host


def source(file: str) -> str:
    """The text of a .cu file, complete in itself."""
    text, common = ((FOLDER / name).read_text("utf-8") for name in (f"{file}.cu", "common.h"))
    return text.replace('#include "common.h"', common)


def options(dtype: str, width: int) -> tuple[str, ...]:
    """What the compiler has to be told for this dtype and width."""
    element, real, _ = TYPES[dtype]
    return "-std=c++17", f"-DELEMENT={element}", f"-DREAL={real}", f"-DWIDTH={width}"


@cache
def kernels() -> dict[str, Kernel]:
    """Every kernel of every file, by name."""
    found = {}
    for path in sorted(FOLDER.glob("*.cu")):
        for name, text in re.findall(r'extern "C" __global__ void\s+(\w+)\(([^)]*)\)', path.read_text("utf-8")):
            found[name] = Kernel(path.stem, tuple(_parameter(part) for part in text.split(",")))
    return found


def _parameter(text: str) -> Parameter:
    declared, _, name = text.strip().rpartition(" ")
    return Parameter(declared.removeprefix("const ").rstrip("*"), "*" in declared, name)


def has_kernel(*arrays: Any) -> bool:
    """Whether this book has kernels for them: one dtype of TYPES, not empty. All else is the reference book's."""
    given = [array for array in arrays if array is not None]
    return all(a.dtype == given[0].dtype and a.dtype.name in TYPES and a.size for a in given)


def contiguous(array: Any) -> Any:
    """The array, or a C-contiguous copy."""
    return array_module(array).ascontiguousarray(array)


def width(count: int, *arrays: Any) -> int:
    """How many neighbours a thread takes: 16 bytes, where that divides ``count`` and arrays begin at such a place."""
    lanes = 16 // arrays[0].dtype.itemsize
    aligned = all(address(array) % 16 == 0 for array in arrays)
    return lanes if count % lanes == 0 and aligned else 1


def lasting(xp: Any, size: int) -> Any:
    """This many bytes that are never given back: of the common pool, even where a recording has one of its own."""
    if xp is np:
        return np.empty(size, "uint8")
    with xp.cuda.using_allocator(xp.get_default_memory_pool().malloc):
        return xp.empty(size, "uint8")


def address(array: Any) -> int:
    """Where the array begins, in bytes."""
    return int(array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr)


def rows(count: int, in_row: int) -> Grid:
    """The grid for ROWS and IN_ROW."""
    return min(count, BLOCKS), min(-(-in_row // BLOCK), 64)


def all_of(count: int) -> Grid:
    """The grid for ALL: a few thousand blocks are enough to keep any GPU busy."""
    return max(1, min(-(-count // BLOCK), 4096)), 1


def tiles(row_count: int, packs: int, most: int = BLOCKS) -> tuple[Grid, Grid]:
    """Grid and block for TILE_ROWS and TILE_COLUMN: ``packs`` of columns, and at most so many blocks of rows."""
    across = min(32, 1 << (packs - 1).bit_length())
    down = BLOCK // across
    return (min(-(-row_count // down), most), -(-packs // across)), (across, down)


def runs(row_count: int, count: int, packs: int) -> tuple[Grid, Grid]:
    """Grid and block for rows of ``count`` runs, each of ``packs``: threads side by side take those of one run."""
    across = -(-packs // -(-packs // BLOCK))  # of one, or of an even share
    down = BLOCK // across
    return (min(row_count, BLOCKS), min(-(-count // down), 1024)), (across, down)


def launch(name: str, like: Any, width: int, grid: Grid, *arguments: Any, block: Grid = (BLOCK, 1)) -> None:
    """Start a kernel, for elements of the dtype of ``like`` and where that array is.

    Numbers become what the kernel's parameters say, None a null pointer. Raises TypeError or ValueError for an array in
    the wrong dtype, order or place.
    """
    kernel = kernels()[name]
    if len(arguments) != len(kernel.parameters):
        raise TypeError(f"{name}: expected {len(kernel.parameters)} arguments, got {len(arguments)}")
    xp, dtype = array_module(like), like.dtype.name
    if xp is np and _host is None:
        raise TypeError(f"{name}: expected arrays of cupy, got numpy's")
    given = [_argument(name, p, a, dtype, xp) for p, a in zip(kernel.parameters, arguments, strict=True)]
    if xp is np:
        assert _host is not None
        _host.launch(kernel.file, name, dtype, width, grid, block, given)
    else:
        _function(kernel.file, dtype, width, name)(grid, block, tuple(given))


def _argument(kernel: str, parameter: Parameter, value: Any, dtype: str, xp: Any) -> Any:
    types = SCALARS | {"element": dtype, "real": TYPES[dtype][2]}
    if not parameter.is_array:
        return np.dtype(types[parameter.type]).type(value) if parameter.type in types else value  # a struct, as it is
    if value is None:
        return np.uint64(0)
    where = f"{kernel}: {parameter.name}"
    if not isinstance(value, xp.ndarray):
        raise TypeError(f"{where}: expected an array of {xp.__name__}, got {type(value).__name__}")
    if value.dtype.name != types[parameter.type]:
        raise TypeError(f"{where}: expected dtype {types[parameter.type]}, got {value.dtype}")
    if not value.flags.c_contiguous:
        raise ValueError(f"{where}: expected an array in C order, got strides {value.strides} for shape {value.shape}")
    if xp is not np and value.device.id != (current := xp.cuda.Device().id):
        raise ValueError(f"{where}: expected an array on the current device, {current}, got one on {value.device.id}")
    return value


@cache
def _function(file: str, dtype: str, width: int, name: str) -> Any:
    """CuPy's RawKernel: compiled at its first call, for the device that is current then, and remembered for each."""
    return _module(file, dtype, width).get_function(name)


@cache
def _module(file: str, dtype: str, width: int) -> Any:
    import cupy

    return cupy.RawModule(code=source(file), options=options(dtype, width))
