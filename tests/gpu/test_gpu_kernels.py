"""Every kernel of the gpu book at every kind of geometry, on the device, against float64 in the reference book."""

import numpy as np
import pytest
from cases import CASES

from alexnet_np import backend, gradcheck, layers
from alexnet_np.backend import to_numpy
from alexnet_np.gradcheck import float32, ops

reference = backend.get("reference").kernels

OPS = {}  # op -> its cases, by name
for name, case in CASES.items():
    OPS.setdefault(case.op, {})[name] = case
DRAWS = ("dropout",)  # from a generator of the device's own
every_op = pytest.mark.parametrize("op", [op for op in OPS if op not in DRAWS])

# dtype, precision, relative errors of the result and of gradients in the Euclidean norm. In bfloat16 a sum that is
# almost 0, or two pixels that are almost alike, may end on the other side: in these small arrays one of them counts.
ARITHMETIC = {
    "float64": ("float64", "float32", 1e-12, 1e-12),
    "float32": ("float32", "float32", 1e-5, 1e-5),
    "tf32": ("float32", "tf32", 1e-5, 1e-3),
    "bfloat16": ("float32", "bfloat16", 1e-2, 1e-1),
}


@pytest.fixture(params=ARITHMETIC)
def arithmetic(request):
    if request.param == "bfloat16":
        pytest.importorskip("ml_dtypes", reason="precision bfloat16 needs ml_dtypes")
    return ARITHMETIC[request.param]


def rounded(array):
    """To 7 bits behind the point, which each precision can hold: so that all compute from the same numbers."""
    if array is None or array.dtype.kind != "f":
        return array
    return (array.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(array.dtype)


def run(case, kernels, xp, dtype):
    """y and all gradients of a case, as NumPy arrays."""

    def on_device(array):
        return None if array is None else xp.asarray(array)

    options = {name: on_device(v) if isinstance(v, np.ndarray) else v for name, v in case.options.items()}
    arrays = [on_device(None if a is None else rounded(a).astype(dtype)) for a in case.arrays("float64")]
    y, saved = getattr(kernels, f"{case.op}_forward")(*arrays, **options)
    dy = rounded(np.random.default_rng(100).standard_normal(y.shape)).astype(dtype)
    grads = getattr(kernels, f"{case.op}_backward")(xp.asarray(dy, y.dtype) if dy.ndim else 1.0, saved)
    results = [y, *(grads if isinstance(grads, tuple) else (grads,))]
    return [None if result is None else to_numpy(result).astype(np.float64) for result in results]


def relative_error(found, expected):
    return float(np.linalg.norm(np.ravel(found - expected)) / (np.linalg.norm(np.ravel(expected)) or 1.0))


@every_op
def test_kernels_agree_with_float64(cupy, op, arithmetic):
    dtype, precision, *tolerances = arithmetic
    kernels = backend.get("gpu", precision=precision).kernels
    for name, case in OPS[op].items():
        if getattr(cupy, "pretended", False) and case.size > 2000:
            continue  # in time; and tests/kernels has them for the gpu book on a CPU
        found, expected = run(case, kernels, cupy, dtype), run(case, reference, np, "float64")
        for i, (a, b) in enumerate(zip(found, expected, strict=True)):
            assert (a is None) == (b is None), f"{name}, result {i}"
            if b is not None:
                assert a.shape == b.shape, f"{name}, result {i}"
                assert relative_error(a, b) <= tolerances[i > 0], f"{name}, result {i}"


@every_op
def test_kernels_give_the_same_bits_again(real_cupy, op, arithmetic):
    """No atomics, nothing that depends on who comes first."""
    dtype, precision, *_ = arithmetic
    kernels = backend.get("gpu", precision=precision).kernels
    for name, case in OPS[op].items():
        first = run(case, kernels, real_cupy, dtype)
        for _ in range(3):
            for a, b in zip(run(case, kernels, real_cupy, dtype), first, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=name)


@pytest.mark.parametrize("ties", ["first", "all"])
def test_pooled_bfloat16_stays_bfloat16(cupy, ties):
    """Both ways, whoever does it: what comes before it in a network takes nothing else."""
    bfloat16 = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes").bfloat16
    x = np.random.default_rng(0).integers(9, size=(2, 7, 8, 3)).astype(np.float64)  # with ties
    dy = rounded(np.random.default_rng(1).standard_normal((2, 3, 3, 3)))
    results = []
    for kernels, xp, dtype in ((backend.get("gpu").kernels, cupy, bfloat16), (reference, np, np.float64)):
        y, saved = kernels.max_pool2d_forward(xp.asarray(x, dtype), 3, 2, ties=ties)
        results.append((y, kernels.max_pool2d_backward(xp.asarray(dy, dtype), saved)))
    for found, expected in zip(*results, strict=True):
        assert found.dtype == bfloat16
        assert relative_error(to_numpy(found).astype(np.float64), expected) < 1e-2


@pytest.mark.parametrize(("asked", "least", "most"), [("float32", 0.0, 1e-6), ("tf32", 1e-5, 1e-3)])
def test_a_product_has_the_precision_that_was_asked_for(cupy, asked, least, most):
    """Of numbers that need all the bits of a float32: strictly in float32, and measurably less in TF32.

    They are large enough for tensor cores: for less cuBLAS may take a kernel that is more precise than asked for.
    """
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((512, 256)), rng.standard_normal((256, 512))
    kernels = backend.get("gpu", precision=asked).kernels
    y, _ = kernels.linear_forward(cupy.asarray(x, np.float32), cupy.asarray(w, np.float32), None)
    assert least <= relative_error(to_numpy(y), x.astype(np.float32).astype(float) @ w.astype(np.float32)) <= most


@pytest.mark.parametrize("p", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("inverted", [True, False])
def test_dropout(cupy, p, inverted):
    gpu = backend.get("gpu")
    shape = (100, 40)
    x = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)

    def drop(rng):
        y, saved = gpu.kernels.dropout_forward(cupy.asarray(x), p, rng, inverted)
        return to_numpy(y), to_numpy(gpu.kernels.dropout_backward(cupy.asarray(x), saved))

    rng = gpu.generator(np.random.default_rng(5))
    y, dx = drop(rng)
    kept = y != 0
    assert abs(kept.mean() - (1 - p)) <= 4 * np.sqrt(p * (1 - p) / y.size)
    scale = np.float32(1 / (1 - p) if inverted else 1)
    np.testing.assert_allclose(y[kept], scale * x[kept], rtol=1e-6)
    np.testing.assert_array_equal(y, dx)  # the same mask and factor
    again, _ = drop(rng)
    assert p == 0 or ((again != 0) != kept).any()
    np.testing.assert_array_equal(drop(gpu.generator(np.random.default_rng(5)))[0], y)


def test_gradients_are_slopes(cupy, monkeypatch):
    """What `alexnet-np gradcheck --device gpu` does; where that takes long, of all that draws masks."""
    if getattr(cupy, "pretended", False):
        drawing = [case for case in ops._layers(np.random.default_rng(0)) if "Dropout" in repr(case)]
        monkeypatch.setattr(ops, "_layers", lambda rng: drawing)
        monkeypatch.setattr(float32, "large_layers", lambda rng: [])
    result = gradcheck.report("gpu")
    assert result.ok, str(result)
    methods = {row.method for row in result if row.op == "Dropout"}
    assert methods == {"directions", "entries", "complex step", float32.METHOD}  # the last two outside training


def test_a_gradient_check_leaves_the_generator_as_it_was(cupy):
    layer = layers.Dropout(0.3).to("gpu", "float64")
    generator, state = layer.rng, layer.rng.state
    result = gradcheck.check(layer, (np.random.default_rng(0).standard_normal((3, 4)),), training=True)
    assert result.error < 1e-7
    assert layer.rng is generator
    assert generator.state == state


def test_more_elements_than_an_int_counts(real_cupy):
    """Of 2^31 and a few more, the last ones are computed, and the first ones not by mistake in their place."""
    count = 2**31 + 1000
    free, _ = real_cupy.cuda.runtime.memGetInfo()
    if free < 5 * count:
        pytest.skip(f"needs {5 * count / 2**30:.0f} GiB of the GPU's memory, {free / 2**30:.0f} are free")
    try:
        ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 needs ml_dtypes")
        x = real_cupy.zeros(count, ml_dtypes.bfloat16).reshape(1, -1)
        x[0, -1000:] = -1
        x[0, -1:] = 3
        y, _ = backend.get("gpu").kernels.relu_forward(x)
        last = to_numpy(y[0, -1000:]).astype(np.float32)
        np.testing.assert_array_equal(last, [0] * 999 + [3])
        assert not to_numpy(y[0, :1000]).astype(np.float32).any()
    finally:
        real_cupy.get_default_memory_pool().free_all_blocks()
