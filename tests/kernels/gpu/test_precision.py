"""The precisions of device "gpu": what stays float32, how far results are from float64's, whole networks in each."""

from importlib import import_module

import gpu_on_host
import numpy as np
import pytest
from cases import CASES
from hypothesis import given, strategies as st
from ml_dtypes import bfloat16

from alexnet_np import backend, layers, losses, optim

pytestmark = pytest.mark.skipif(gpu_on_host.problem() is not None, reason=str(gpu_on_host.problem()))

conversions = import_module("alexnet_np.kernels.gpu.precision")
reference = backend.get("reference").kernels
precisions = pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])

# Relative errors in the Euclidean norm: the last place of an operand, with something to spare.
ERRORS = {"float32": 1e-6, "tf32": 2**-10, "bfloat16": 2**-7}
PRODUCTS = {
    name: case for name, case in CASES.items() if case.op.startswith(("conv2d", "linear")) and case.size < 20_000
}


def relative(found, exact):
    return np.linalg.norm(np.ravel(found.astype("float64") - exact)) / np.linalg.norm(np.ravel(exact))


@precisions
@pytest.mark.parametrize("case", PRODUCTS.values(), ids=PRODUCTS)
def test_products_are_as_precise_as_they_say(case, precision):
    """And dtypes: weights' gradients are float32 always."""
    book = gpu_on_host.install(precision).kernels
    arrays = case.arrays("float32")
    y, saved = case.forward(book, *arrays)
    dy = case.dy(y).astype(y.dtype)
    results = [y, *case.backward(book, dy, saved)]
    exact_y, exact_saved = case.forward(reference, *(a if a is None else a.astype("float64") for a in arrays))
    exact = [exact_y, *case.backward(reference, dy.astype("float64"), exact_saved)]
    for found, right in zip(results, exact, strict=True):
        if right is not None:
            # Where a ReLU or a pooling decides otherwise than in float64, gradients differ by more.
            assert relative(found, right) < ERRORS[precision] * (
                40 if "relu" in case.op and precision != "float32" else 1
            )
    assert [None if a is None else a.dtype.name for a in results] == [
        "bfloat16" if precision == "bfloat16" and "relu" in case.op else "float32",
        *(None if a is None else "float32" for a in arrays),
    ]


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("name", ["linear: blocks and a rest", "conv2d: 3x3"])
def test_products_are_no_more_precise_than_they_say(name, precision):
    """A precision that is not passed on would be noticed: forward, and both products of backward."""
    case, book = CASES[name], gpu_on_host.install(precision).kernels
    arrays = case.arrays("float32")
    results, exact = case.run(book, arrays), case.run(reference, [array.astype("float64") for array in arrays])
    for found, right in zip(results[:3], exact[:3], strict=True):
        assert relative(found, right) > ERRORS[precision] / 10


@precisions
def test_float64_is_computed_in_float64(precision):
    """A precision concerns float32."""
    case = CASES["conv2d_relu: 3x3"]
    book, arrays = gpu_on_host.install(precision).kernels, case.arrays()
    for found, right in zip(case.run(book, arrays), case.run(reference, arrays), strict=True):
        assert relative(found, right) < 1e-13


@given(values=st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=40))
def test_rounding_is_to_the_nearest_even(values):
    """By a library that does the same: ml_dtypes. Infinities and NaN stay what they are."""
    gpu_on_host.install()
    x = np.array(values, "float32")
    found = conversions.rounded(x)
    with np.errstate(over="ignore"):
        expected = x.astype(bfloat16)
    nan = np.isnan(x)
    assert np.isnan(found[nan].astype("float32")).all()
    np.testing.assert_array_equal(found[~nan].view(np.uint16), expected[~nan].view(np.uint16))
    np.testing.assert_array_equal(conversions.widened(found), found.astype("float32"))


def small_net():
    rng = np.random.default_rng(5)
    return layers.Sequential(
        layers.Conv2d(3, 16, 5, stride=2, padding=2, rng=rng),
        layers.ReLU(inplace=True),
        layers.LocalResponseNorm(5, alpha=0.1),
        layers.MaxPool2d(3, 2),
        layers.Conv2d(16, 24, 3, padding=1, groups=2, rng=rng),
        layers.ReLU(inplace=True),
        layers.MaxPool2d(3, 2),
        layers.AdaptiveAvgPool2d((2, 3)),
        layers.Flatten(),
        layers.Dropout(0.2, rng=np.random.default_rng(3)),
        layers.Linear(2 * 3 * 24, 40, rng=rng),
        layers.ReLU(inplace=True),
        layers.Linear(40, 7, rng=rng),
    )


def train(net, steps=8, p=0.2):
    """The losses of some steps on the same few pictures."""
    net.children["9"].p = p
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((6, 27, 33, 3)).astype("float32"), np.array([0, 3, 6, 1, 1, 5])
    sgd = optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    found = []
    for _ in range(steps):
        loss, dlogits = losses.softmax_cross_entropy(net.forward(x, training=True), labels)
        assert net.backward(dlogits, input_grad=False) is None
        assert {p.grad.dtype.name for p in net.parameters()} == {"float32"}
        sgd.step()
        found.append(float(loss))
    assert {p.data.dtype.name for p in net.parameters()} == {"float32"}
    return np.array(found)


@precisions
def test_a_network_trains_as_on_the_cpu(precision, monkeypatch):
    """Without dropout, whose masks are others: the same losses, as far as the precision goes."""
    gpu_on_host.pretend(monkeypatch)
    net = small_net().to("gpu", precision=precision)
    assert net.backend.precision == precision
    losses_here, losses_there = train(net, p=0), train(small_net().to("reference"), p=0)
    np.testing.assert_allclose(
        losses_here, losses_there, rtol={"float32": 1e-4, "tf32": 2e-2, "bfloat16": 5e-2}[precision]
    )
    assert losses_here[-1] < 0.8 * losses_here[0]


def test_the_same_seed_gives_the_same_bits(monkeypatch):
    """Dropout included."""
    gpu_on_host.pretend(monkeypatch)
    first, second = (train(small_net().to("gpu"), steps=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("device", ["reference", "cpu"])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_other_devices_have_one_precision(device, precision):
    net = small_net()
    sentence = f"precision: device {device} has only its own, expected 'float32', got '{precision}'"
    with pytest.raises(ValueError, match=sentence):
        net.to(device, precision=precision)
    with pytest.raises(ValueError, match="precision: expected one of float32, tf32, bfloat16, got 'half'"):
        net.to(device, precision="half")
    assert net.backend is backend.get("cpu")
