"""The memory pool: what lives is never handed out again, what died is, and it does not grow."""

import gc

import numpy as np
import pytest
from alexnet_np.kernels.cpu import memory
from hypothesis import given, strategies as st

from alexnet_np import losses, models, optim

LARGE = 1 << 20


@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=1, max_size=30))
def test_living_arrays_never_share_memory(plan: list[tuple[int, bool]]) -> None:
    living: list[np.ndarray] = []
    for number, (size, dies) in enumerate(plan):
        array = memory.empty((size, LARGE // 4), np.float32)
        array.fill(number)
        assert not any(np.shares_memory(array, other) for other in living)
        living.append(array)
        if dies:
            living.pop(0)
    values = [set(np.unique(array)) for array in living]
    assert all(len(v) == 1 for v in values)
    assert len(set.union(set(), *values)) == len(living)


def test_memory_comes_back_with_the_last_view() -> None:
    array = memory.empty(LARGE)
    address = array.ctypes.data
    view = array.reshape(2, -1)[1]
    del array
    gc.collect()
    other = memory.empty(LARGE)
    assert other.ctypes.data != address and not np.shares_memory(other, view)
    del view, other
    gc.collect()
    again = [memory.empty(LARGE) for _ in range(2)]
    assert address in {a.ctypes.data for a in again}


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_arrays_are_aligned_writable_and_of_the_right_kind(dtype: type) -> None:
    array = memory.zeros((3, LARGE), dtype)
    assert array.ctypes.data % 64 == 0
    assert array.flags.c_contiguous and array.flags.writeable
    assert array.dtype == dtype and array.shape == (3, LARGE) and not array.any()


def test_training_with_varying_batch_sizes_does_not_grow() -> None:
    rng = np.random.default_rng(0)
    net = models.alexnet(num_classes=10)
    sgd = optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)

    def held() -> int:
        gc.collect()
        return memory.held_bytes()

    def steps(sizes: list[int]) -> None:
        for size in sizes:
            images = rng.standard_normal((size, 63, 63, 3), dtype=np.float32)
            labels = rng.integers(0, 10, size)
            _, dlogits = losses.softmax_cross_entropy(net.forward(images, training=True), labels)
            net.backward(dlogits)
            sgd.step()

    steps([8, 8])
    after_the_largest = held()
    steps([1, 5, 3, 8, 2, 7, 4, 6, 8, 1])
    assert held() <= after_the_largest * 1.05
