"""The gpu book's dropout: Philox4x32-10 by its authors' numbers, masks that are a function of seed and counter."""

import gpu_on_host
import numpy as np
import pytest
from cases import BOOKS

from alexnet_np import layers
from alexnet_np.backend import Backend

pytestmark = pytest.mark.skipif(gpu_on_host.problem() is not None, reason=str(gpu_on_host.problem()))

GPU = "gpu, emulated"


def generator(seed=0):
    return gpu_on_host.install().generator(np.random.default_rng(seed))


def philox(counter, key):
    """Four words from four, written from the paper (Salmon et al. 2011, section 3.2)."""
    a, b, c, d = counter
    for r in range(10):
        k0, k1 = (key[0] + r * 0x9E3779B9) % 2**32, (key[1] + r * 0xBB67AE85) % 2**32
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (right >> 32) ^ b ^ k0, right % 2**32, (left >> 32) ^ d ^ k1, left % 2**32
    return a, b, c, d


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_of_this_file_is_philox(counter, key, expected):
    """The known answers that its authors publish with Random123."""
    words = [[int(word, 16) for word in text.split()] for text in (counter, key, expected)]
    assert philox(*words[:2]) == tuple(words[2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 4, 18, 64, 1027])
@pytest.mark.parametrize(("seed", "begin"), [(0, 0), (2**64 - 17, 3), (5, 2**33 + 1)])
def test_masks_are_philoxs_numbers(seed, begin, count, dtype):
    """Whatever the dtype, and the number of elements that a thread takes at once."""
    rng = generator()
    rng.state = {"seed": seed, "counter": begin}
    x = np.arange(1, count + 1).astype(dtype)
    y, saved = BOOKS[GPU].dropout_forward(x, 0.3, rng)
    calls = [
        philox(((begin + t) % 2**32, (begin + t) >> 32, 0, 0), (seed % 2**32, seed >> 32))
        for t in range(-(-count // 4))
    ]
    numbers = np.array(calls, np.uint64).ravel()[:count].astype(np.uint32) >> 8
    kept = numbers.astype("float32") / np.float32(2**24) >= np.float32(0.3)
    np.testing.assert_allclose(y, np.where(kept, x / 0.7, 0), rtol=1e-6)
    np.testing.assert_array_equal(BOOKS[GPU].dropout_backward(x, saved), y)
    assert rng.state == {"seed": seed, "counter": begin + -(-count // 4)}


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_elements_stay_with_probability_one_minus_p(p):
    x = np.ones((40, 5, 7, 3), "float32")
    y, _ = BOOKS[GPU].dropout_forward(x, p, generator(), inverted=False)
    assert set(np.unique(y)) == {0, 1}
    assert abs(y.mean() - (1 - p)) < 4 * np.sqrt(p * (1 - p) / x.size)


def test_the_state_moves_on_and_backward_remembers_its_own():
    x, rng = np.ones((6, 50), "float32"), generator()
    (first, saved), (second, _) = (BOOKS[GPU].dropout_forward(x, 0.5, rng) for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(BOOKS[GPU].dropout_backward(x, saved), first)
    np.testing.assert_array_equal(BOOKS[GPU].dropout_forward(x, 0.5, generator())[0], first)
    assert not np.array_equal(BOOKS[GPU].dropout_forward(x, 0.5, generator(1))[0], first)


def test_what_is_dropped_is_0_even_if_it_was_infinite():
    y, _ = BOOKS[GPU].dropout_forward(np.full((50, 4), np.inf, "float32"), 0.5, generator())
    assert set(y.ravel()) == {0.0, np.inf}


def test_generators_follow_the_device(monkeypatch):
    """To "gpu" and back, each seeded by the one before: the same way gives the same masks."""
    gpu_on_host.pretend(monkeypatch)
    x = np.ones((3, 40), "float32")

    def masks():
        layer = layers.Dropout(rng=np.random.default_rng(1)).to("gpu")
        gpu, rng = layer.forward(x, training=True), layer.rng
        assert layer.to("gpu").rng is rng
        return gpu, layer.to("cpu").forward(x, training=True)

    once, again = masks(), masks()
    for a, b in zip(once, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(*once)
    assert isinstance(Backend("cpu").generator(generator()), np.random.Generator)
