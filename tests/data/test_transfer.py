"""Double buffers: on streams that are only pretended, and as slow or as quick as streams may be."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from alexnet_np import backend
from alexnet_np.data import Preparation
from alexnet_np.data.transfer import Transfer

PREPARATION = Preparation.photographs()


class Streams:
    """Streams of work that is done late and in any order that the events permit."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.streams = []
        self.current = self.stream()
        self.grown = 0

    def stream(self, non_blocking=True):
        stream = SimpleNamespace(work=[])
        stream.wait_event = lambda event: stream.work.append(("wait", event, event.records))
        stream.synchronize = lambda: self.until(lambda: not stream.work)
        self.streams.append(stream)
        return stream

    def event(self, disable_timing):
        event = SimpleNamespace(records=0, done=0)

        def record(stream=None):
            event.records += 1
            (stream or self.current).work.append(("record", event, event.records))

        event.record = record
        event.synchronize = lambda: self.until(lambda: event.done >= event.records)
        return event

    def until(self, condition):
        while not condition():
            self.some()

    def some(self):
        """One piece of work, of a stream that can go on."""
        able = [s for s in self.streams if s.work and not (s.work[0][0] == "wait" and s.work[0][1].done < s.work[0][2])]
        assert able, "everybody waits"
        kind, what, number = able[self.rng.integers(len(able))].work.pop(0)
        if kind == "record":
            what.done = number
        if kind == "do":
            what()

    def begin(self, action, stream=None):
        (stream or self.current).work.append(("do", action, 0))
        for _ in range(self.rng.integers(3)):
            if any(s.work for s in self.streams):
                self.some()

    def cupy(self):
        streams = self

        class ndarray(np.ndarray):  # noqa: N801
            def set(self, source, stream):
                streams.begin(lambda: np.copyto(self, source), stream)

        def empty(size, dtype):
            streams.grown += 1
            return np.full(size, 99, dtype).view(ndarray)

        cuda = SimpleNamespace(Stream=self.stream, Event=self.event, get_current_stream=lambda: self.current)
        return SimpleNamespace(cuda=cuda, empty=empty)

    def normalise(self, images, mean, std):
        y = np.full(images.shape, 99, np.float32)
        self.begin(lambda: np.copyto(y, backend.get("reference").kernels.normalise(np.array(images), mean, std)))
        return y


@pytest.fixture
def transfer_on(monkeypatch):
    """streams -> a Transfer that works on them."""

    def make(streams):
        gpu = backend.Backend("gpu")
        vars(gpu).update(xp=streams.cupy(), kernels=SimpleNamespace(normalise=streams.normalise))
        monkeypatch.setitem(
            sys.modules, "cupyx", SimpleNamespace(empty_pinned=lambda size, dtype: np.full(size, 99, dtype))
        )
        return Transfer(gpu, PREPARATION)

    return make


def batches(number=7, last=2, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [5] * (number - 1) + [last]
    return [(rng.standard_normal((N, 3, 4, 3), dtype=np.float32), rng.integers(9, size=N)) for N in sizes]


def use(streams, transfer, given, stop_after=None):
    """What a step on the current stream reads, whenever it comes to that."""
    read = []
    for number, arrays in enumerate(transfer(iter(given)), 1):
        streams.begin(lambda arrays=arrays: read.append([np.array(array) for array in arrays]))
        if number == stop_after:
            break
    return read


@pytest.mark.parametrize("seed", range(40))
def test_every_step_reads_its_own_batch(transfer_on, seed):
    """Over two epochs, the first of which is left in the middle; with pictures as bytes in the second."""
    streams = Streams(seed)
    transfer = transfer_on(streams)
    first = batches()
    second = [((images > 0) * np.uint8(200), labels) for images, labels in batches(seed=1)]
    normalised = [(PREPARATION.normalise(images), labels) for images, labels in second]
    epochs = [(use(streams, transfer, first, stop_after=4), first[:4]), (use(streams, transfer, second), normalised)]
    streams.until(lambda: not any(stream.work for stream in streams.streams))
    for read, given in epochs:
        assert len(read) == len(given)
        for found, expected in zip(read, given, strict=True):
            for a, b in zip(found, expected, strict=True):
                assert a.dtype == b.dtype
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_a_batch_is_used_on_the_stream_that_it_was_handed_to(transfer_on, seed):
    """Also where another stream is current when the next one is asked for."""
    streams, given, read = Streams(seed), batches(), []
    streams.stream()
    handed_out = transfer_on(streams)(given)
    for number in range(len(given)):
        streams.current = streams.streams[number % 2]
        arrays = next(handed_out)
        streams.begin(lambda number=number, arrays=arrays: read.append((number, [np.array(a) for a in arrays])))
    streams.until(lambda: not any(stream.work for stream in streams.streams))
    assert sorted(number for number, _ in read) == list(range(len(given)))
    for number, arrays in read:
        for found, expected in zip(arrays, given[number], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_buffers_are_made_once(transfer_on):
    streams = Streams(0)
    transfer = transfer_on(streams)
    for seed in range(3):
        use(streams, transfer, batches(seed=seed))
    assert streams.grown == 4  # for pictures and labels in two slots
    use(streams, transfer, batches(last=8))
    assert streams.grown == 6


def test_the_next_batch_is_under_way_before_this_one_is_handed_out(transfer_on):
    taken = []
    source = (taken.append(number) or batch for number, batch in enumerate(batches()))
    next(transfer_on(Streams(0))(source))
    assert taken == [0, 1]


def test_no_batches(transfer_on):
    assert list(transfer_on(Streams(0))([])) == []


@pytest.mark.parametrize("device", ["reference", "cpu"])
def test_a_cpu_gets_the_batches_themselves(device):
    given = batches()
    for found, expected in zip(Transfer(backend.get(device), PREPARATION)(given), given, strict=True):
        assert found is expected
