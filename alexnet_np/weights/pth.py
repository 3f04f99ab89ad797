"""The state dicts that torch.save writes, read without PyTorch, and without running what is in them.

A .pth file is a pickle, and a pickle is a program for a small stack machine, which may call any function there
is. So nothing here unpickles: the few instructions that describe a dict of tensors are read one by one, and the
first other one, or the first other function, is refused. What a file says of sizes is checked before memory is
taken, and the pickle and a zip file's directory have to be small: reading takes no more than the file's own size
(three times that for bfloat16) and some tens of megabytes. A zip file's checksums are checked while it is read; a
stream has none.

    zip, since PyTorch 1.6      NAME/data.pkl, the pickle; NAME/data/KEY, the numbers; NAME/byteorder
    one stream, before          magic number, protocol, system, the pickle, the keys; for each key a count, the numbers

Source: torch/serialization.py and torch/_utils.py of PyTorch 2.
"""

import io
import os
import pickletools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np

from .bfloat16 import widened
from .zips import ZIP_MAGIC, member, members

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
LEGACY_MAGIC = b"\x80\x02\x8a\x0a" + MAGIC_NUMBER.to_bytes(10, "little") + b"."
LEGACY_PROTOCOL = 1001

# torch's name of a storage -> how NumPy reads it.
BFLOAT16 = "u2"
STORAGES = {
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": BFLOAT16,
}
DICT, PARAMETER = "collections.OrderedDict", "torch._utils._rebuild_parameter"
TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
FUNCTIONS = {DICT, PARAMETER, *TENSORS}

Order = Literal["little", "big"]

MAX_PICKLE = 1_000_000  # bytes; AlexNet's has about 1,500
MAX_OPCODES = 100_000  # AlexNet's 16 tensors take about 600
MAX_NAME = 200
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class Function:
    """One of FUNCTIONS. There is only its name: nothing is called."""

    name: str


@dataclass(frozen=True)
class StorageType:
    """One of STORAGES."""

    name: str


@dataclass(frozen=True)
class Storage:
    """``size`` numbers in a row, kept in the file under ``key``."""

    key: str
    type: str
    size: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; offset and strides count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """name -> array (float16, float32 or float64; bfloat16 becomes float32). The arrays are read-only.

    Raises OSError where the file cannot be read, ValueError where it is anything but a dict of tensors.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        return _read_zip(file, size) if zipped else _read_stream(file, size)


# ---- the two containers


def _read_zip(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    with members(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"expected one data.pkl in the zip file, got {len(pickles)}")
        if archive.getinfo(pickles[0]).file_size > MAX_PICKLE:
            raise ValueError(f"its pickle has more than {MAX_PICKLE:,} bytes")
        root, names = pickles[0].removesuffix("data.pkl"), archive.namelist()
        tensors = _tensors(_unpickle(io.BytesIO(member(archive, pickles[0], size))))
        order = _order(member(archive, f"{root}byteorder", size) if f"{root}byteorder" in names else b"little")
        numbers = {}
        for storage in _storages(tensors.values()):
            data = member(archive, f"{root}data/{storage.key}", size)
            size -= len(data)  # the members of an honest file lie side by side, and so fit into it together
            numbers[storage.key] = _numbers(storage, data, order)
    return {name: _array(name, tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_stream(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
    file.seek(0)
    stream = io.BytesIO(file.read(size))
    magic, protocol, system = (_unpickle(stream) for _ in range(3))
    if (magic, protocol) != (MAGIC_NUMBER, LEGACY_PROTOCOL):
        raise ValueError("expected torch.save's magic number and protocol 1001 at its beginning")
    if not isinstance(system, dict) or not isinstance(system.get("little_endian"), bool):
        raise ValueError("expected a dict with little_endian in its third pickle")
    order: Order = "little" if system["little_endian"] else "big"
    tensors = _tensors(_unpickle(stream))
    storages = {storage.key: storage for storage in _storages(tensors.values())}
    keys = _unpickle(stream)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError("expected the keys of all storages in its fifth pickle")
    rest = stream.getbuffer()
    position = stream.tell()
    numbers = {}
    for key in keys:
        storage = storages[key]
        count = int.from_bytes(rest[position : position + 8], order)
        start, position = position + 8, position + 8 + count * np.dtype(STORAGES[storage.type]).itemsize
        numbers[key] = _numbers(storage, rest[start:position], order)
    return {name: _array(name, tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}


def _order(record: bytes) -> Order:
    if record not in (b"little", b"big"):
        raise ValueError(f"expected byteorder little or big, got {record[:MAX_NAME]!r}")
    return "little" if record == b"little" else "big"


# ---- from placeholders to arrays


def _tensors(value: Any) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a dict of tensors, got {_kind(value)}")
    nested = next((name for name, inner in value.items() if isinstance(inner, dict)), None)
    if nested is not None:
        alone = f"save that alone, torch.save(checkpoint[{nested!r}], FILE)"
        raise ValueError(f"expected a dict of tensors, got a dict as {nested!r}: {alone}")
    for name, tensor in value.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"expected a dict of tensors, got {_kind(tensor)} as {name!r}")
    return value


def _storages(tensors: Iterable[Tensor]) -> list[Storage]:
    """Each storage once."""
    storages: dict[str, Storage] = {}
    for tensor in tensors:
        if storages.setdefault(tensor.storage.key, tensor.storage) != tensor.storage:
            raise ValueError(f"storage {tensor.storage.key!r} is described in two ways")
    return list(storages.values())


def _numbers(storage: Storage, data: Any, order: Order) -> np.ndarray:
    code = STORAGES[storage.type]
    dtype = np.dtype(code).newbyteorder(order)
    if len(data) != storage.size * dtype.itemsize:
        expected = f"{storage.size * dtype.itemsize} bytes in storage {storage.key!r}"
        raise ValueError(f"expected {expected}, got {len(data)}")
    numbers = np.frombuffer(data, dtype)
    if code == BFLOAT16:
        return widened(numbers)
    return numbers


def _array(name: str, tensor: Tensor, numbers: np.ndarray) -> np.ndarray:
    """The view that a tensor is, after a check that it stays within its storage and meets no number twice."""
    if 0 in tensor.shape:
        return np.zeros(tensor.shape, numbers.dtype)
    reach = 0  # of the axes so far, those with smaller strides
    for stride, length in sorted(zip(tensor.strides, tensor.shape, strict=True)):
        if length > 1 and stride <= reach:
            raise ValueError(f"{name}: shape {tensor.shape} with strides {tensor.strides} meets a number twice")
        reach += (length - 1) * stride
    if tensor.offset + reach >= numbers.size:
        raise ValueError(f"{name}: shape {tensor.shape} reaches beyond its storage of {numbers.size} numbers")
    # No step is taken along an axis of one number, and its stride may be too large for one.
    steps = [stride if length > 1 else 0 for stride, length in zip(tensor.strides, tensor.shape, strict=True)]
    strides = [step * numbers.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides, writeable=False)


# ---- the pickle


class _Mark:
    """On the stack, where a list of arguments begins."""


MARK = _Mark()

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
LITERALS = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "BINSTRING", "SHORT_BINSTRING"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
OTHERS = {
    *("PROTO", "STOP", "MARK", "EMPTY_DICT", "EMPTY_LIST", "TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
}
NAMES = {*CONSTANTS, *LITERALS, *TUPLES, *OTHERS}
OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes if opcode.name in NAMES}


def _unpickle(file: BinaryIO) -> Any:
    """The value of one pickle of protocol 2: numbers, strings, tuples, lists, dicts, and the placeholders above."""
    machine = _Machine()
    start = file.tell()
    pickle = io.BytesIO(file.read(MAX_PICKLE))
    for _ in range(MAX_OPCODES):
        code = pickle.read(1)
        opcode = OPCODES.get(code)
        if opcode is None:
            what = f"the instruction {code!r}" if code else f"its end, or {MAX_PICKLE:,} bytes,"
            raise ValueError(f"its pickle has {what} where a dict of tensors was expected")
        if opcode.name == "STOP":
            file.seek(start + pickle.tell())
            return machine.pop()
        argument: Any = None
        if opcode.name == "GLOBAL":  # module and name, a line each
            argument = b".".join(pickle.readline(MAX_NAME).rstrip(b"\n") for _ in range(2)).decode("latin-1")
        elif opcode.arg:
            argument = opcode.arg.reader(pickle)  # ValueError where the file ends before
        machine.step(opcode.name, argument)
    raise ValueError(f"its pickle has more than {MAX_OPCODES:,} instructions")


class _Machine:
    """The stack machine of pickles, as far as a dict of tensors needs it."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Carry out an instruction other than STOP."""
        match opcode:
            case "PROTO":
                if argument != 2:
                    raise ValueError(f"expected a pickle of protocol 2, as torch.save writes, got {argument}")
            case "MARK":
                self.stack.append(MARK)
            case _ if opcode in CONSTANTS:
                self.stack.append(CONSTANTS[opcode])
            case _ if opcode in LITERALS:
                self.stack.append(argument)
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case _ if opcode in TUPLES:
                self.stack.append(tuple([self.pop() for _ in range(TUPLES[opcode])][::-1]))
            case "TUPLE":
                self.stack.append(tuple(self.pop_to_mark()))
            case "APPEND" | "APPENDS":
                values = [self.pop()] if opcode == "APPEND" else self.pop_to_mark()
                self.top(list).extend(values)
            case "SETITEM" | "SETITEMS":
                values = [self.pop(), self.pop()][::-1] if opcode == "SETITEM" else self.pop_to_mark()
                if len(values) % 2:
                    raise ValueError("its pickle has a key without a value")
                _set_items(self.top(dict), zip(values[::2], values[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top(object)
            case "BINGET" | "LONG_BINGET":
                if argument not in self.memo:
                    raise ValueError("its pickle recalls what it has not kept")
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.stack.append(_global(argument))
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                self.stack.append(_call(function, arguments))
            case "BUILD":  # attributes of an OrderedDict: torch's _metadata, versions of modules that nobody needs here
                self.pop()
                self.top(dict)
            case "BINPERSID":
                self.stack.append(_storage(self.pop()))

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle takes more than it has put down")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self.pop()) is not MARK:
            values.append(value)
        return values[::-1]

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise ValueError(f"its pickle fills a {kind.__name__} that is not there")
        return self.stack[-1]


def _global(name: str) -> Function | StorageType:
    if name in FUNCTIONS:
        return Function(name)
    if name in STORAGES:
        return StorageType(name)
    raise ValueError(f"it asks for {name!r}, and only dicts of floating-point tensors are read")


def _storage(reference: Any) -> Storage:
    match reference:
        # Behind the size, the legacy format says of what the storage is a part: in state dicts, None.
        case ("storage", StorageType(name), str(key), str(), int(size), *view) if view in ([], [None]):
            if len(key) <= MAX_NAME:
                return Storage(key, name, size)
    raise ValueError("its pickle refers to something that is no storage")


def _set_items(target: dict[str, Any], items: Iterable[tuple[Any, Any]]) -> None:
    for key, value in items:
        if not isinstance(key, str) or len(key) > MAX_NAME:
            raise ValueError(f"expected names of at most {MAX_NAME} characters in a dict, got {_kind(key)}")
        target[key] = value


def _call(function: Any, arguments: Any) -> Any:
    """What the function would return, as a placeholder."""
    match function, arguments:
        case Function(name=n), () if n == DICT:
            return {}
        case Function(name=n), (list(pairs),) if n == DICT and all(isinstance(p, list) and len(p) == 2 for p in pairs):
            ordered: dict[str, Any] = {}  # as Python 2 wrote it
            _set_items(ordered, pairs)
            pairs.clear()  # a second call with the same list, which no honest file has, would take as much memory again
            return ordered
        case Function(name=n), (Tensor() as tensor, *_) if n == PARAMETER:
            return tensor
        case Function(name=n), (Storage() as storage, offset, tuple(shape), tuple(strides), *_) if n in TENSORS:
            numbers = (offset, *shape, *strides)
            if len(shape) == len(strides) <= MAX_DIMENSIONS and all(type(n) is int and 0 <= n < 2**63 for n in numbers):
                return Tensor(storage, offset, shape, strides)
    raise ValueError("its pickle calls what is no function of torch's, or not as torch calls it")


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"
