"""A GPU that is only pretended: as much of CuPy as a training step needs, on NumPy arrays, with streams to capture.

What matters of a capture is kept: nothing is computed meanwhile; what was asked for is repeated on the same memory by
each launch; whoever reads a number on the host during it fails, as with CUDA.
"""

import operator
import sys
import weakref
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from weakref import WeakSet

import numpy as np

from alexnet_np import backend

sys.path.append(str(Path(__file__).parent / "kernels"))

from gpu_on_host import HOST, WORKSPACE, problem as gpu_book_problem  # noqa: F401

_tape = None  # of the capture that is under way: functions for each launch to call


class ndarray(np.ndarray):  # noqa: N801
    """Every operation goes through ``_do``."""

    __module__ = "cupy"
    device = SimpleNamespace(id=0, synchronize=lambda: None)
    memory = None  # what the allocator gave for it, or for what it is a view of

    def __array_ufunc__(self, ufunc, method, *inputs, out=(None,), **kwargs):
        return _do(getattr(ufunc, method), *inputs, out=out[0], **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        return _do(function, *args, **kwargs)

    def __getitem__(self, key):
        return _do(operator.getitem, self, key)

    def __setitem__(self, key, value):
        _do(operator.setitem, self, key, value)

    def copy(self):
        return _do(np.array, self)

    def astype(self, dtype):
        return _do(np.array, self, dtype=dtype)

    def argmax(self, axis, keepdims):
        return _do(np.argmax, self, axis, keepdims=keepdims)

    def fill(self, value):
        _do(np.ndarray.fill, self, value)

    def get(self, out=None, blocking=True):
        if out is None:
            return np.array(_read(self))
        out[...] = _read(self)
        return out

    def set(self, source, stream):
        _do(operator.setitem, self, ..., source)

    def __float__(self):
        return float(_read(self))

    def __int__(self):
        return int(_read(self))

    def __bool__(self):
        return bool(_read(self))


def _read(array):
    if _tape is not None:
        raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")
    return _plain(array)


def _plain(x):
    if isinstance(x, tuple | list):
        return type(x)(map(_plain, x))
    return x.view(np.ndarray) if isinstance(x, ndarray) else x


def _device_array(array, memory):
    array = array.view(ndarray)
    array.memory = memory
    return array


def _do(function, *args, out=None, **kwargs):
    """Call the function; during a capture, note that each launch will."""
    given, args, kwargs = args, _plain(args), {name: _plain(value) for name, value in kwargs.items()}
    in_place = out is not None or function in (operator.setitem, np.ndarray.fill, _now, _launch)
    if out is not None:
        kwargs["out"] = _plain(out)
    if in_place:
        if _tape is None:
            function(*args, **kwargs)
        else:
            _tape.append(lambda: function(*args, **kwargs))
        return out
    with np.errstate(all="ignore"):
        result = np.asarray(function(*args, **kwargs))  # during a capture this only tells shape and dtype
    for array, plain in zip(given, args, strict=True):
        if isinstance(array, ndarray) and np.may_share_memory(plain, result):
            return _device_array(result, array.memory)
    if _tape is not None:
        _tape.append(lambda: np.copyto(result, function(*args, **kwargs)))
        result.fill(99)
    return _device_array(result, _allocator(result.nbytes))


class Generator:
    """Its state is on the device: each launch goes on with it."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def random(self, shape, dtype):
        return _do(self.rng.random, shape, dtype=np.dtype(dtype).type)

    def integers(self, high):
        return self.rng.integers(high)

    @property
    def state(self):
        return self.rng.bit_generator.state

    @state.setter
    def state(self, state):
        self.rng.bit_generator.state = state


POOLS = WeakSet()  # that are in use


class Pool:
    """Of memory. As with CuPy's, nobody may have any of a pool that is gone."""

    def __init__(self, allocator=None):
        self.allocator = allocator or _block
        self.pieces = WeakSet()
        POOLS.add(self)
        weakref.finalize(self, Pool.gone, self.pieces).atexit = False

    def malloc(self, size):
        try:
            self.pieces.add(piece := self.allocator(size))
        except CUDARuntimeError:
            self.free_all_blocks()
            raise
        return piece

    def free_all_blocks(self):
        assert self is DEFAULT_POOL, "recordings have lost the memory that they use for a moment"

    @staticmethod
    def gone(pieces):
        assert not pieces, "a pool is gone, and there are arrays in its memory"


class Piece(SimpleNamespace):
    """Of memory."""

    __hash__ = object.__hash__


class CUDARuntimeError(RuntimeError):
    """CUDA's."""


def _block(size):
    return Piece(ptr=1, device_id=0, size=size)


DEFAULT_POOL = Pool()
_allocator = DEFAULT_POOL.malloc


@contextmanager
def _using_allocator(allocator):
    global _allocator
    before, _allocator = _allocator, allocator
    try:
        yield
    finally:
        _allocator = before


class Graph:
    launches = 0  # of all of them

    def __init__(self, tape):
        self.tape = tape

    def launch(self):
        Graph.launches += 1
        with np.errstate(all="ignore"):
            for repeat in self.tape:
                repeat()


class Stream:
    """Whatever it is asked for has happened when the call returns."""

    numbers = count()

    def __init__(self, non_blocking=True):
        self.ptr = next(Stream.numbers)

    def __enter__(self):
        _streams.append(self)

    def __exit__(self, *error):
        _streams.pop()

    def wait_event(self, event):
        pass

    def synchronize(self):
        pass

    def begin_capture(self):
        global _tape
        _tape = []

    def end_capture(self):
        global _tape
        tape, _tape = _tape, None
        return Graph(tape)


_streams = [Stream()]  # the last is the current one


def _contiguous(array, dtype=None):
    if not isinstance(array, ndarray):
        raise TypeError("Argument 'a' has incorrect type (expected cupy._core.core._ndarray_base, got numpy.ndarray)")
    return _asarray(array, dtype)


def _asarray(array, dtype=None, order="C"):
    if isinstance(array, ndarray) and array.flags.c_contiguous and (dtype is None or array.dtype == dtype):
        return array
    return _do(np.array, array, dtype=dtype, order="C")


def _empty(shape, dtype):
    array = np.full(shape, 99, dtype)
    return _device_array(array, _allocator(array.nbytes))


def _cupy():
    module = ModuleType("cupy")
    vars(module).update(vars(np))
    for function in (np.arange, np.full, np.zeros, np.zeros_like):
        setattr(module, function.__name__, partial(_do, function))
    module.where = lambda condition, x, y: _do(_where, condition, x, y)
    module.empty = _empty
    module.empty_like = lambda array: module.empty(array.shape, array.dtype)
    module.asarray, module.ascontiguousarray = _asarray, _contiguous
    module.ndarray = ndarray
    module.pretended = True
    module.random = SimpleNamespace(Generator=Generator, default_rng=Generator)
    module.get_default_memory_pool = lambda: DEFAULT_POOL
    module.cuda = SimpleNamespace(
        Device=lambda: ndarray.device,
        Stream=Stream,
        Event=lambda disable_timing: SimpleNamespace(record=lambda stream=None: None, synchronize=lambda: None),
        get_current_stream=lambda: _streams[-1],
        runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError),
        Memory=_block,
        MemoryPool=Pool,
        MemoryPointer=lambda memory, offset: memory,
        UnownedMemory=lambda ptr, size, owner, device_id: Piece(ptr=ptr, size=size, owner=owner),
        using_allocator=_using_allocator,
    )
    return module


def _where(condition, x, y):
    """CuPy 14 has it for float16 and float32, and nothing between them: bfloat16 becomes float32."""
    result = np.where(condition, x, y)
    return result.astype(np.float32) if result.dtype.name == "bfloat16" else result


def _now(rule, w, g, v, lr, *others):
    if not np.isnan(lr):
        rule(w, g, v, lr, *others)


def _sgd(rule):
    """The rule for lists, and a rate on the device: NaN changes nothing."""

    def update(ws, gs, vs, lr, *others):
        for w, g, v in zip(ws, gs, vs, strict=True):
            _do(_now, rule, w, g, v, lr, *others)

    return update


def pretend(monkeypatch):
    """``net.to("gpu")`` works from now on, by the reference book's kernels."""
    kernels = dict(vars(backend.get("reference").kernels))
    kernels |= {f"{rule}_all_inplace": _sgd(kernels[f"{rule}_inplace"]) for rule in ("sgd_torch", "sgd_2012")}
    _install(monkeypatch, kernels=SimpleNamespace(**kernels), generator=lambda rng: Generator(rng.integers(2**62)))


def pretend_with_gpu_book(monkeypatch):
    """``net.to("gpu")`` works from now on, by the gpu book's own kernels, which run on the CPU."""

    class Function(SimpleNamespace):
        def __call__(self, grid, block, arguments):
            _do(_launch, self.file, self.name, self.dtype, self.width, grid, block, arguments)

    def function(file, dtype, width, name):
        return Function(file=file, name=name, dtype=dtype, width=width)

    monkeypatch.setattr("alexnet_np.kernels.gpu.launch._function", function)
    monkeypatch.setattr("alexnet_np.kernels.gpu.conv.WORKSPACE", WORKSPACE)
    return _install(monkeypatch)


def _launch(*what):
    HOST.launch(*what)


def _install(monkeypatch, **attributes):
    cupy = _cupy()

    @cache
    def gpu(precision="float32"):
        made = backend.Backend("gpu", precision=precision)
        vars(made).update(xp=cupy, **attributes)
        return made

    def get(device, algorithm="auto", precision="float32"):
        return gpu(precision) if device == "gpu" else real_get(device, algorithm, precision)

    real_get, real_of = backend.get, backend.of
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupyx", SimpleNamespace(empty_pinned=np.empty))
    monkeypatch.setattr(backend, "get", get)
    monkeypatch.setattr(backend, "of", lambda array, *_: gpu() if isinstance(array, ndarray) else real_of(array, *_))
    monkeypatch.setattr(Graph, "launches", 0)
    return cupy
