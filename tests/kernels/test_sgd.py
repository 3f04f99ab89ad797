"""The two rules of SGD, element by element, and what they have in common."""

import numpy as np
import pytest

from alexnet_np import backend

RULES = ["sgd_torch_inplace", "sgd_2012_inplace"]
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
rules = pytest.mark.parametrize("rule", RULES)


def loop_step(rule, w, g, v, lr, momentum, weight_decay):
    """One weight."""
    if rule == "sgd_torch_inplace":
        v = momentum * v + (g + weight_decay * w)
        return w - lr * v, v
    v = momentum * v - lr * (g + weight_decay * w)
    return w + v, v


def steps(book, rule, dtype, rates, shape=(3, 5), **options):
    """w and v after a step for each rate, with another random g each time."""
    rng = np.random.default_rng(0)
    w, v = rng.standard_normal(shape).astype(dtype), np.zeros(shape, dtype)
    for lr in rates:
        getattr(book, rule)(w, rng.standard_normal(shape).astype(dtype), v, lr, **options)
    return w, v


@dtypes
@rules
@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"weight_decay": 0.01}, {"momentum": 0.8, "weight_decay": 0.1}]
)
def test_each_weight_by_the_formula(book, rule, dtype, options):
    """In several steps with changing rates."""
    shape, rates = (3, 5), [0.1, 0.1, 0.02, 0.3]
    rng = np.random.default_rng(0)
    w = rng.standard_normal(shape).astype(dtype).astype("float64")
    v = np.zeros(shape)
    for lr in rates:
        g = rng.standard_normal(shape).astype(dtype)
        for i in np.ndindex(shape):
            momentum, decay = options.get("momentum", 0.0), options.get("weight_decay", 0.0)
            w[i], v[i] = loop_step(rule, w[i], float(g[i]), v[i], lr, momentum, decay)
    error = 1e-12 if dtype == "float64" else 1e-5
    found_w, found_v = steps(book, rule, dtype, rates, **options)
    np.testing.assert_allclose(found_w, w, rtol=error, atol=error)
    np.testing.assert_allclose(found_v, v, rtol=error, atol=error)
    assert found_w.dtype == found_v.dtype == dtype


@rules
def test_books_agree_on_large_arrays(book, rule):
    """Large enough to be split among threads."""
    options = {"shape": (300, 517), "momentum": 0.9, "weight_decay": 5e-4}
    found = steps(book, rule, "float32", [0.1, 0.05], **options)
    expected = steps(backend.get("reference").kernels, rule, "float64", [0.1, 0.05], **options)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_with_a_constant_rate_the_rules_take_the_same_steps(book):
    """v of one is -lr times v of the other. When the rate falls, the rule of 2012 lets the old velocity run on."""
    options = {"momentum": 0.9, "weight_decay": 0.01}
    (w_torch, v_torch), (w_2012, v_2012) = (steps(book, rule, "float64", [0.1] * 5, **options) for rule in RULES)
    np.testing.assert_allclose(w_torch, w_2012, rtol=1e-12)
    np.testing.assert_allclose(v_2012, -0.1 * v_torch, rtol=1e-12)
    (w_torch, _), (w_2012, _) = (steps(book, rule, "float64", [0.1, 0.1, 0.01], **options) for rule in RULES)
    assert np.abs(w_torch - w_2012).max() > 0.01


@dtypes
@rules
def test_only_w_and_v_are_written(book, rule, dtype):
    rng = np.random.default_rng(0)
    w, g, v = (rng.standard_normal((4, 7)).astype(dtype) for _ in range(3))
    g.flags.writeable = False
    before = w.copy(), v.copy()
    assert getattr(book, rule)(w, g, v, 0.1, 0.9, 0.01) is None
    assert not np.array_equal(w, before[0])
    assert not np.array_equal(v, before[1])
    np.testing.assert_array_equal(g, np.random.default_rng(0).standard_normal((3, 4, 7))[1].astype(dtype))


@dtypes
@rules
def test_a_list_is_its_arrays_one_by_one(book, rule, dtype):
    """Of any sizes, more of them than are updated at once; one begins in the middle of its memory."""
    rng = np.random.default_rng(0)
    shapes = [(3, 5), (7,), (300, 17), (1,), *((n, 2) for n in range(1, 35))]
    triples = [[rng.standard_normal(shape).astype(dtype) for shape in shapes] for _ in range(3)]
    triples[0][1] = rng.standard_normal(8).astype(dtype)[1:]
    expected = [[array.copy() for array in arrays] for arrays in triples]
    for w, g, v in zip(*expected, strict=True):
        getattr(book, rule)(w, g, v, 0.1, 0.9, 0.01)
    getattr(book, rule.replace("inplace", "all_inplace"))(*triples, 0.1, 0.9, 0.01)
    for found, right in zip(triples, expected, strict=True):
        for a, b in zip(found, right, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@rules
def test_nothing_happens_without_gradient_velocity_and_decay(book, rule):
    w = np.random.default_rng(0).standard_normal((4, 7))
    after = w.copy()
    getattr(book, rule)(after, np.zeros_like(w), np.zeros_like(w), 0.1, 0.9, 0.0)
    np.testing.assert_array_equal(after, w)
