"""Functions on a GPU, recorded as CUDA graphs: begun once by Python, then replayed in one launch.

    recorder = Recorder()
    for images in batches:
        logits, = recorder.run(lambda images: (net.logits(images, keep=False),), lambda: fixed(net), images)

A step has hundreds of launches, which may take Python longer than they take the GPU. What a recording holds is fixed:
addresses, shapes, numbers. So inputs are copied to where it reads them, and each kind of inputs (shapes and dtypes)
has its recording. When what is fixed has changed after all (weights that moved, say), the function is recorded anew.
Its first call of each kind runs unrecorded: it compiles kernels, and makes what is made once.

Memory that a recording uses for a moment it will use again in each replay. It comes from a pool of the recordings' own,
which they share: they run one after the other.
"""

import operator
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from . import backend as backends
from .generators import kinds
from .layers import Container
from .layers.tree import Tree


@dataclass(frozen=True)
class Fixed:
    """What a recording holds for good: objects, arrays for their addresses among them, and numbers."""

    objects: tuple[Any, ...]
    numbers: tuple[Any, ...]

    def is_as(self, other: "Fixed") -> bool:
        """Whether these are the very objects of the other, and equal numbers."""
        return (
            len(self.objects) == len(other.objects)
            and all(map(operator.is_, self.objects, other.objects))
            and self.numbers == other.numbers
        )


def fixed(net: Container, objects: Iterable[Any] = (), numbers: Iterable[Any] = ()) -> Fixed:
    """What is fixed wherever a network is recorded, and more: layers, weights, generators, and the layers' settings.

    Settings are attributes that are numbers, texts, or tuples of them: strides, probabilities, ...
    """
    held, settings = [net.backend, *objects], [*numbers]
    tree = Tree(net)
    held += [p.data for p in tree.parameters()]
    for layer in tree.layers():
        held.append(layer)
        generators = kinds(layer.backend)
        for name, value in vars(layer).items():
            if name in PASSING:
                continue
            if type(value) in PLAIN or (type(value) is tuple and _is_plain(value)):
                settings.append(value)
            elif isinstance(value, generators):
                held.append(value)
    return Fixed(tuple(held), tuple(settings))


PASSING = frozenset({"_saved", "_record"})  # of one forward
PLAIN = frozenset({bool, int, float, str, type(None)})


def _is_plain(values: tuple[Any, ...]) -> bool:
    return all(type(value) in PLAIN or (type(value) is tuple and _is_plain(value)) for value in values)


class Recorder:
    """The recordings of one function. Gone, it has given all memory back that nobody else has a result in."""

    def __init__(self) -> None:
        self._recordings: dict[Any, _Recording] = {}  # by the kind of inputs
        self._prepared: dict[Any, Fixed] = {}  # with what each kind last ran unrecorded
        self._pool: Any = None

    def run(
        self, function: Callable[..., tuple[Any, ...]], fixed: Callable[[], Fixed], *inputs: Any
    ) -> tuple[Any, ...]:
        """The function's results: by the recording for such inputs; by a new one, or unrecorded, where it has to be.

        ``function`` takes and gives arrays of the GPU, and waits for none of them; ``fixed()`` says what a recording
        made now would hold. Results are written over by the next run.
        """
        kind, now = tuple((array.shape, array.dtype.name) for array in inputs), fixed()
        recording = self._recordings.get(kind)
        if recording is None or not recording.fixed.is_as(now):
            self._recordings.pop(kind, None)  # its memory is for the next
            prepared = self._prepared.get(kind)
            if prepared is None or not prepared.is_as(now):
                results = function(*inputs)
                self._prepared[kind] = fixed()
                return results
            recording = self._recordings[kind] = self._record(function, now, inputs)
        for array, value in zip(recording.inputs, inputs, strict=True):
            array[...] = value
        recording.graph.launch()
        return recording.results

    def gives(self, array: Any) -> bool:
        """Whether this array is a result of a recording."""
        return any(result is array for recording in self._recordings.values() for result in recording.results)

    def _record(self, function: Callable[..., tuple[Any, ...]], fixed: Fixed, inputs: tuple[Any, ...]) -> "_Recording":
        """Nothing is computed here: the device is told what the function is."""
        xp = backends.of(inputs[0]).xp
        stream = _stream(xp, xp.cuda.Device().id)
        self._pool = self._pool or xp.cuda.MemoryPool(partial(_block, xp.cuda))
        # The unrecorded call has left as much in the common pool.
        xp.get_default_memory_pool().free_all_blocks()
        with xp.cuda.using_allocator(_allocator(xp.cuda, self._pool)), stream:
            inputs = tuple(map(xp.empty_like, inputs))
            try:  # an interrupt, too, must end the capture
                stream.begin_capture()
                results = function(*inputs)
                graph = stream.end_capture()
            except BaseException:
                with suppress(Exception):  # it is the first error that matters
                    stream.end_capture()
                raise
        return _Recording(graph, fixed, inputs, results)


@dataclass(frozen=True)
class _Recording:
    """A CUDA graph, with all arrays whose addresses are in it and that others could free."""

    graph: Any
    fixed: Fixed
    inputs: tuple[Any, ...]
    results: tuple[Any, ...]


@cache
def _stream(xp: Any, device: int) -> Any:
    """For all recordings: kernels keep memory to work in for every stream, and never give it back."""
    return xp.cuda.Stream(non_blocking=True)


def _block(cuda: Any, size: int) -> Any:
    """New memory for the pool. Told by an error of CUDA's that there is none, a pool of CuPy's would free what it has
    unused: that is what recordings use for a moment, in each replay."""
    try:
        return cuda.MemoryPointer(cuda.Memory(size), 0)
    except cuda.runtime.CUDARuntimeError as error:
        raise MemoryError(f"recording on a GPU: expected {size:,} bytes more of its memory, got {error}") from error


def _allocator(cuda: Any, pool: Any) -> Callable[[int], Any]:
    """The pool's, with memory that keeps the pool. When a pool of CuPy's goes before its arrays, some of its memory is
    freed under them, and some is lost for good: its blocks refer to one another."""

    def malloc(size: int) -> Any:
        memory = pool.malloc(size)
        owner = (pool, memory)  # of which Python frees the last one first
        return cuda.MemoryPointer(cuda.UnownedMemory(memory.ptr, size, owner, memory.device_id), 0)

    return malloc
