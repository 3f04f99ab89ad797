"""Batches on their way to a GPU: the next one is copied while the network works on this one.

    main memory          pinned: a slot's         the GPU: a slot's
    a batch    ------>   buffer         ------>   buffer              ------>   the step
               by the CPU               by the second stream                    by the current stream

There are two slots. Four things must not overtake one another, and events see to three of them: the CPU fills a pinned
buffer once the copy before has left it; the copy begins once the step before has read the GPU's buffer; the step
begins once the copy has arrived. And the batch after this one is under way before this one is handed out, so that
there is something to overlap even for who reads each loss at once.

Pictures may travel as bytes (``Loader(as_bytes=True)``): a quarter of the way, and normalised where they arrive.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import lt
from typing import Any

import numpy as np

from ..backend import Backend
from .preparation import Preparation


class Transfer:
    """Calls of it hand on batches as arrays of a device: ``for images, labels in transfer(loader.batches()):``.

    On "gpu" an array is overwritten after the next batch has been asked for; buffers stay for the next epoch. Images
    that come as bytes are normalised there. Other devices get the batches as they are.
    """

    def __init__(self, backend: Backend, preparation: Preparation) -> None:
        self.backend = backend
        self.preparation = preparation
        if backend.device == "gpu":
            self._stream = backend.xp.cuda.Stream(non_blocking=True)
            self._slots = [_Slot(backend.xp), _Slot(backend.xp)]

    def __call__(self, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """The batches, NumPy's arrays of images and labels, on the device."""
        if self.backend.device != "gpu":
            yield from batches
            return
        under_way: _Slot | None = None
        try:
            for number, batch in enumerate(batches):
                slot = self._slots[number % 2]
                slot.begin(batch, self._stream)
                if under_way is not None:
                    yield from under_way.hand_out(self._normalised)
                under_way = slot
            if under_way is not None:
                yield from under_way.hand_out(self._normalised)
        finally:
            self._stream.synchronize()  # the buffers may go with the last of who uses them

    def back(self, *numbers: Any) -> Callable[[], list[Any]]:
        """Numbers on their way to main memory; on "gpu" they are arrays without axes.

        What is returned waits for them alone, and not for what the device is asked for after this call.
        """
        if self.backend.device != "gpu":
            return lambda: list(numbers)
        import cupyx

        pinned = [cupyx.empty_pinned((), number.dtype) for number in numbers]
        for number, copy in zip(numbers, pinned, strict=True):
            number.get(out=copy, blocking=False)
        arrived = self.backend.xp.cuda.Event(disable_timing=True)
        arrived.record()

        def read() -> list[Any]:
            arrived.synchronize()
            return [copy.item() for copy in pinned]

        return read

    def _normalised(self, images: Any, labels: Any) -> tuple[Any, Any]:
        if images.dtype == np.uint8:
            images = self.backend.kernels.normalise(images, self.preparation.mean, self.preparation.std)
        return images, labels


class _Slot:
    """A pinned buffer and one on the GPU for every array of a batch; as large as the largest batch so far."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.copied = xp.cuda.Event(disable_timing=True)
        self.used = xp.cuda.Event(disable_timing=True)
        self.pinned: list[Any] = []
        self.on_gpu: list[Any] = []
        self.batch: list[Any] = []  # what is on the GPU, in the shapes of the batch

    def begin(self, batch: tuple[Any, Any], stream: Any) -> None:
        """Copy a batch, while the GPU goes on with what it has."""
        arrays = [np.ascontiguousarray(array) for array in batch]
        self.copied.synchronize()  # the pinned buffers are free
        sizes = [array.nbytes for array in arrays]
        if len(self.pinned) != len(sizes) or any(map(lt, (buffer.nbytes for buffer in self.pinned), sizes)):
            self._grow(sizes)
        stream.wait_event(self.used)  # and so are those on the GPU
        self.batch = []
        for array, pinned, on_gpu in zip(arrays, self.pinned, self.on_gpu, strict=True):
            source, target = (
                buffer[: array.nbytes].view(array.dtype).reshape(array.shape) for buffer in (pinned, on_gpu)
            )
            source[...] = array
            target.set(source, stream=stream)
            self.batch.append(target)
        self.copied.record(stream)

    def hand_out(self, prepare: Callable[[Any, Any], tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """The batch, prepared, for whatever is begun on the current stream until the next one is asked for.

        By then another stream may be current: who asks may be elsewhere, or it is the collector that ends this.
        """
        stream = self.xp.cuda.get_current_stream()
        stream.wait_event(self.copied)
        try:
            yield prepare(*self.batch)
        finally:  # also where nobody asks for a next one
            self.used.record(stream)

    def _grow(self, sizes: list[int]) -> None:
        import cupyx

        # New memory of the pool may still be in use by what the current stream has been told to do: the copy would
        # not wait for that.
        self.xp.cuda.get_current_stream().synchronize()
        self.pinned = [cupyx.empty_pinned(size, np.uint8) for size in sizes]
        self.on_gpu = [self.xp.empty(size, np.uint8) for size in sizes]
