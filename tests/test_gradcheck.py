"""gradcheck: right gradients pass, wrong ones are named with the mistake behind them, kinks are neither."""

import warnings

import numpy as np
import pytest

from alexnet_np import backend, gradcheck, layers, models
from alexnet_np.gradcheck import GradientError, check, check_function, kink_free, slopes

kernels = backend.get("reference").kernels


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# ---- layers as other people write them


class Weight:
    def __init__(self, name, data):
        self.name, self.data, self.grad = name, data, None


class Dense:
    """Somebody's own layer: forward(x), backward(dy), parameters(), and no more."""

    def __init__(self, inputs=4, outputs=3):
        rng = np.random.default_rng(1)
        self.weight = Weight("w", rng.standard_normal((inputs, outputs)))
        self.bias = Weight("b", rng.standard_normal(outputs))

    def parameters(self):
        return [self.weight, self.bias]

    def forward(self, x):
        self.x = x
        return np.tanh(x @ self.weight.data + self.bias.data)

    def backward(self, dy):
        dz = dy * (1 - np.tanh(self.x @ self.weight.data + self.bias.data) ** 2)
        self.weight.grad, self.bias.grad = self.weight_grad(dz), self.bias_grad(dz)
        return self.input_grad(dz)

    def weight_grad(self, dz):
        return self.x.T @ dz

    def bias_grad(self, dz):
        return dz.sum(axis=0)

    def input_grad(self, dz):
        return dz @ self.weight.data.T


class Product:
    """Two inputs, no parameters."""

    def forward(self, x, z):
        self.saved = x, z
        return x * z

    def backward(self, dy):
        x, z = self.saved
        return dy * z, dy * x


OPTIONS = [
    {},
    {"every_entry": True},
    {"complex_step": True},
    {"complex_step": True, "every_entry": True},
    {"together": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_layer_of_ones_own_passes(rng, options):
    result = check(Dense(), (rng.standard_normal((5, 4)),), **options)
    assert result.ok
    assert [row.tensor for row in result] == (["all 3"] if "together" in options else ["x", "w", "b"])
    entries = {"x": 20, "w": 12, "b": 3} if "every_entry" in options else {"x": 3, "w": 3, "b": 3, "all 3": 1}
    assert all(row.compared == entries[row.tensor] and row.kinks == 0 for row in result)
    assert result.error <= (1e-14 if "complex_step" in options else 1e-9)


def test_several_inputs(rng):
    result = check(Product(), (rng.standard_normal((2, 3)), rng.standard_normal((2, 3))), every_entry=True)
    assert [row.tensor for row in result] == ["x0", "x1"]


def test_several_gradients_may_be_a_list(rng):
    class Listed(Product):
        def backward(self, dy):
            return list(super().backward(dy))

    assert check(Listed(), (rng.standard_normal((2, 3)), rng.standard_normal((2, 3)))).ok


def test_tensors_of_one_name_are_told_apart(rng):
    """As where somebody's block holds two layers, each with a "weight"."""

    class Block(Dense):
        def __init__(self):
            super().__init__()
            self.weight.name = self.bias.name = "weight"

        def bias_grad(self, dz):
            return -dz.sum(axis=0)

    with pytest.raises(GradientError, match=r"the gradient of weight \(2\) is wrong(.|\n)*the sign is wrong") as caught:
        check(Block(), (rng.standard_normal((5, 4)),))
    assert len(caught.value.index) == 1


def test_a_missing_gradient_is_said(rng):
    class Forgetful(Product):
        def backward(self, dy):
            return super().backward(dy)[0]

    with pytest.raises(GradientError, match=r"x1: expected backward to return a tuple of 2 arrays, .* x0, x1, got 1"):
        check(Forgetful(), (rng.standard_normal((2, 3)), rng.standard_normal((2, 3))))


def test_a_factor_that_may_be_several_things(rng):
    for wrong, shape, name in (
        (lambda dy: 2 * dy, (3, 2), r"too large by 2 \(perhaps the channels of the result\)"),
        (lambda dy: dy / 3, (3, 3), r"too small by 3 \(the channels of the result or the batch size N\)"),
    ):
        with pytest.raises(GradientError, match=name):
            check_function(lambda x: (x + 1, None), lambda dy, saved, wrong=wrong: wrong(dy), (rng.random(shape),))


def test_a_single_number_is_not_explained_by_a_factor(rng):
    """That would always fit."""
    with pytest.raises(GradientError) as caught:
        check_function(lambda x: (np.sin(x), x), lambda dy, x: dy * np.sin(x), (rng.standard_normal((1, 1)),))
    assert caught.value.mistake == ""


def test_functions_are_differentiated_in_their_arrays_only(rng):
    x, w = rng.standard_normal((2, 5, 6, 4)), rng.standard_normal((3, 2, 2, 6))
    for b, names in ((rng.standard_normal(6), ["x", "w", "b"]), (None, ["x", "w"])):
        result = check_function(kernels.conv2d_forward, kernels.conv2d_backward, (x, w, b, (2, 1), 1, 2))
        assert [row.tensor for row in result] == names
    labels = np.array([2, 0, 0])
    inputs = (rng.standard_normal((3, 4)), labels, 0.1)
    check_function(kernels.softmax_cross_entropy_forward, kernels.softmax_cross_entropy_backward, inputs)


def test_everything_is_left_as_it_was(rng):
    net = layers.Sequential(layers.Linear(4, 5), layers.Dropout(0.5), layers.Linear(5, 2)).to("reference", "float64")
    x = rng.standard_normal((3, 4))
    net.backward(np.ones_like(net.forward(x)))
    before = [(p.data.copy(), p.grad.copy()) for p in net.parameters()]
    data, generator, state = [p.data for p in net.parameters()], net[1].rng, net[1].rng.bit_generator.state
    x_before = x.copy()
    for options in OPTIONS:
        check(net, (x,), training=True, **options)
    np.testing.assert_array_equal(x, x_before)
    for p, (value, grad), array in zip(net.parameters(), before, data, strict=True):
        assert p.data is array
        np.testing.assert_array_equal(p.data, value)
        np.testing.assert_array_equal(p.grad, grad)
    assert net[1].rng is generator
    assert generator.bit_generator.state == state
    assert not net.has_saved


def test_dropout_masks_are_replayed(rng):
    x = rng.standard_normal((4, 6))
    assert check(layers.Dropout(0.5).to("reference"), (x,), training=True, every_entry=True).ok

    class Forgetful(layers.Dropout):
        """Draws another mask for backward."""

        def backward(self, dy):
            return super().backward(dy) * (self.rng.random(dy.shape) >= self.p)

    with pytest.raises(GradientError):
        check(Forgetful(0.5).to("reference"), (x,), training=True)


# ---- accuracy


def test_every_op_of_the_package():
    """Central differences to 1e-7, complex steps to 1e-12, at every geometry: report holds the worst."""
    result = gradcheck.report("reference")
    assert result.ok, str(result)
    expected = {"Linear", "Conv2d", "MaxPool2d", "AdaptiveAvgPool2d", "ReLU", "Softmax", "Dropout", "LocalResponseNorm"}
    assert {row.op for row in result} == expected | {"Flatten", "Sequential", "softmax_cross_entropy"}
    assert all(row.kinks == 0 and row.compared for row in result)
    for method, tolerance in (("directions", 1e-7), ("entries", 1e-7), ("complex step", 1e-12)):
        rows = [row for row in result if row.method == method]
        assert len(rows) == len(result.rows) // 3
        assert all(row.tolerance == tolerance and row.error < tolerance / 100 for row in rows)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "training"])
@pytest.mark.parametrize("name", ["alexnet", "alexnet_keras", "alexnet_2012, paper", "alexnet_2012, code"])
def test_whole_networks(name, training):
    """A slope through the input and all parameters at once, to 1e-6; with dropout masks replayed in training."""
    [(make, shape, size)] = [case[1:] for case in gradcheck.ops.NETWORKS if case[0] == name]
    x = size * np.random.default_rng(0).standard_normal(shape)
    net = make(0).to("reference", "float64")
    result = check(net, (x,), training=training, together=True, tolerance=1e-6)
    assert [row.tensor for row in result] == ["all 17"]
    assert result.rows[0].compared == 1


def test_a_whole_network_by_complex_step():
    """Exact to rounding, 57 million parameters or not."""
    net = models.alexnet(num_classes=10).to("reference", "float64")
    x = np.random.default_rng(0).standard_normal((1, 67, 63, 3))
    assert check(net, (x,), training=True, together=True, complex_step=True).error < 1e-12


def test_a_network_with_one_wrong_gradient_is_found_together(rng):
    """No tensor's part in the joint slope is small: not even that of a bias beside a large weight."""
    for wrong in range(6):
        net = layers.Sequential(
            layers.Conv2d(2, 8, 3, rng=rng), layers.ReLU(), layers.Flatten(), layers.Linear(48, 30, rng=rng),
            layers.ReLU(), layers.Linear(30, 3, rng=rng),
        ).to("reference", "float64")  # fmt: skip
        p = net.parameters()[wrong]
        p.write_grad = lambda grad, accumulate, p=p: setattr(p, "grad", grad * (1 + 1e-5))
        with pytest.raises(GradientError) as caught:
            check(net, (rng.standard_normal((2, 5, 4, 2)),), together=True)
        assert caught.value.tensor == p.name
        assert "right to four digits" in caught.value.mistake


@pytest.mark.parametrize("size", [1e-8, 1.0, 1e8])
def test_steps_are_relative_to_the_input(rng, size):
    """exp would overflow or not be seen, if steps did not grow and shrink with x."""
    x = size * rng.standard_normal((3, 4))
    assert (
        check_function(lambda x: (np.exp(x / size), x), lambda dy, x: dy * np.exp(x / size) / size, (x,)).error < 1e-9
    )


def test_steps_stay_in_the_domain(rng):
    """A step of the usual size would take the logarithm of something negative."""
    x = np.array([[1e-5, 1.0, 3.0]])
    for options in ({}, {"every_entry": True}):
        assert check_function(lambda x: (np.log(x), x), lambda dy, x: dy / x, (x,), **options).ok


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradients_and_values_of_zero(options):
    layer = layers.Linear(4, 3, init="zeros").to("reference", "float64")
    assert check(layer, (np.ones((2, 4)),), **options).ok
    assert check(layer, (np.zeros((2, 4)),), **options).ok


# ---- mistakes, and their names


def conv(**changes):
    """A convolution's pair of functions with one gradient changed: dx, dw or db by name."""

    def backward(dy, saved):
        grads = dict(zip(("dx", "dw", "db"), kernels.conv2d_backward(dy, saved), strict=True))
        for name, change in changes.items():
            grads[name] = change(grads[name], dy, saved)
        return grads["dx"], grads["dw"], grads["db"]

    return kernels.conv2d_forward, backward


def flipped_kernel(dx, dy, saved):
    x, w, *rest = saved
    return kernels.conv2d_backward(dy, (x, w[::-1, ::-1], *rest))[0]


def transposed_kernel(dx, dy, saved):
    x, w, *rest = saved
    return kernels.conv2d_backward(dy, (x, w.swapaxes(2, 3), *rest))[0]


def shift_down(dx, dy, saved):
    """As if padding of one row had not been cut off at the top."""
    moved = np.roll(dx, 1, axis=1)
    moved[:, 0] = 0.3
    return moved


MISTAKES = {
    "sign": ({"dw": lambda dw, dy, saved: -dw}, "w", "the sign is wrong"),
    "factor 2": ({"dx": lambda dx, dy, saved: 2 * dx}, "x", "too large by 2"),
    "mean for sum": ({"db": lambda db, dy, saved: dy.mean(axis=(0, 1, 2))}, "b", r"small by 60 \(the pixels of all"),
    "sum over images": ({"dw": lambda dw, dy, saved: dw * len(dy)}, "w", r"too large by 3 \(the batch size N\)"),
    "odd factor": ({"dw": lambda dw, dy, saved: -0.7 * dw}, "w", "it is -0.7 times"),
    "zero": ({"dx": lambda dx, dy, saved: 0 * dx}, "x", "0 everywhere: perhaps it was never written"),
    "missing flip": ({"dx": flipped_kernel}, "x", r"for w turned by 180 degrees in axes \(0, 1\): a missing flip"),
    "flip of dw": ({"dw": lambda dw, dy, saved: dw[::-1, ::-1]}, "w", "right turned by 180 degrees .* a missing flip"),
    "transposed kernel": ({"dx": transposed_kernel}, "x", "right for w with axes 2 and 3 exchanged"),
    "rows for columns": ({"dw": lambda dw, dy, saved: dw.swapaxes(0, 1)}, "w", "right with axes 0 and 1 exchanged"),
    "shift": ({"dx": shift_down}, "x", r"shifted by \+1 along axis 1: a wrong pad"),
    "bias, axes": ({"db": lambda db, dy, saved: dy.sum(axis=(0, 1, 3))}, "b", r"axes: over \(0, 1, 3\) instead of"),
    "bias, one axis": ({"db": lambda db, dy, saved: dy.sum(axis=0)[0, 0]}, "b", r"axes: over \(0,\) instead of"),
    "rounded": ({"dw": lambda dw, dy, saved: dw.round(3)}, "w", "right to four digits: it is rounded somewhere"),
}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"every_entry": True}, {"complex_step": True}], ids=str)
@pytest.mark.parametrize(("changes", "tensor", "mistake"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_in_a_convolution_are_named(rng, changes, tensor, mistake, options):
    x, w, b = rng.standard_normal((3, 5, 4, 4)), rng.standard_normal((3, 3, 4, 4)), rng.standard_normal(4)
    with pytest.raises(GradientError, match=mistake) as caught:
        check_function(*conv(**changes), (x, w, b, 1, ((1, 1), (1, 1))), **options)
    error = caught.value
    assert error.tensor == tensor
    assert len(error.index) == {"x": x, "w": w, "b": b}[tensor].ndim
    assert f"{tensor}[{', '.join(map(str, error.index))}]: analytic {error.analytic:.6g}, numerical " in str(error)
    assert error.row.verdict == "wrong"
    assert error.error > error.row.tolerance


def test_the_worst_entry_is_named(rng):
    """And where the wrong ones are, if they keep to a border."""
    x, w = rng.standard_normal((2, 6, 5, 3)), rng.standard_normal((2, 3, 3, 2))

    def wrong(dx, dy, saved):
        dx[:, 0, :, 1] += 1e-3
        dx[1, 0, 4, 1] += 7.0
        return dx

    with pytest.raises(GradientError) as caught:
        check_function(*conv(dx=wrong), (x, w, None, 1, 0))
    error = caught.value
    assert error.index == (1, 0, 4, 1)
    assert error.analytic - error.numerical == pytest.approx(7.001)
    assert "wrong in 10 of 180 entries compared, all at index 0 of axis 1 and index 1 of axis 3" in str(error)
    assert error.mistake == ""


def test_the_worst_entry_of_a_large_tensor_is_found_among_the_largest(rng):
    def backward(dy, x):
        dx = dy.copy()
        dx[70, 3] *= 1000
        return dx

    with pytest.raises(GradientError) as caught:
        check_function(lambda x: (x, x), backward, (rng.standard_normal((100, 50)),))
    assert caught.value.index == (70, 3)


def test_all_wrong_tensors_are_listed(rng):
    class Wrong(Dense):
        def weight_grad(self, dz):
            return 3 * self.x.T @ dz

        def bias_grad(self, dz):
            return 1.1 * dz.sum(axis=0)

    with pytest.raises(
        GradientError, match=r"gradient of w is wrong(.|\n)*wrong, too: b \(relative error \d\.\de-02\)"
    ):
        check(Wrong(), (rng.standard_normal((5, 4)),))


def test_a_transposed_weight_is_named(rng):
    class Square(layers.Linear):
        def backward(self, dy):
            super().backward(dy)
            return dy @ self.weight.data

    with pytest.raises(GradientError, match="right for weight with axes 0 and 1 exchanged: a transposed matrix"):
        check(Square(4, 4).to("cpu", "float64"), (rng.standard_normal((5, 4)),))

    class Oblong(Dense):
        def weight_grad(self, dz):
            return dz.T @ self.x

    message = r"Oblong: w: expected a gradient of shape \(4, 3\), got \(3, 4\)\n  likely mistake: .* transposed matrix"
    with pytest.raises(GradientError, match=message) as caught:
        check(Oblong(), (rng.standard_normal((5, 4)),))
    assert caught.value.error == np.inf


@pytest.mark.parametrize("kept", ["first", "last"])
def test_a_stale_input_is_named(rng, kept):
    class Stale:
        """A square's backward with the x of the first forward of all, or of the last forward but one."""

        def forward(self, x):
            self.first = getattr(self, "first", x)
            self.last, self.now = getattr(self, "now", x), x
            return x * x

        def backward(self, dy):
            return 2 * dy * getattr(self, kept)

    with pytest.raises(GradientError, match="input of a forward before: backward uses a stale input"):
        check(Stale(), (rng.standard_normal((5, 4)),))


def test_a_gradient_that_is_added_is_named(rng):
    class Adding(Dense):
        def weight_grad(self, dz):
            return self.x.T @ dz + (0 if self.weight.grad is None else self.weight.grad)

    with pytest.raises(GradientError, match="added to that of the backward before") as caught:
        check(Adding(), (rng.standard_normal((5, 4)),))
    assert caught.value.tensor == "w"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dx, x, dy: None, "x: expected a gradient, got None"),
        (lambda dx, x, dy: dx * np.nan, "x: expected a finite gradient, got NaN or infinity"),
        (lambda dx, x, dy: dx.astype("float32"), "x: expected a gradient in float64, got float32"),
        (lambda dx, x, dy: np.multiply(x, 2, out=x), "x: backward wrote into what it was given"),
        (lambda dx, x, dy: np.multiply(dy, 2, out=dy), "dy: backward wrote into what it was given"),
    ],
)
def test_gradients_of_the_wrong_form(rng, change, message):
    def backward(dy, x):
        return change(2 * x * dy, x, dy)

    with pytest.raises(GradientError, match=message):
        check_function(lambda x: (x * x, x), backward, (rng.standard_normal((3, 4)),))


# ---- kinks


def relu(slope_at_0=0.0):
    return lambda x: (np.maximum(x, 0), x), lambda dy, x: dy * np.where(x == 0, slope_at_0, x > 0)


@pytest.mark.parametrize("slope_at_0", [0.0, 0.3, 1.0])
def test_a_kink_is_no_mistake(rng, slope_at_0):
    """Whatever backward says there. Other directions, which leave the kink alone, are found."""
    x = rng.standard_normal((4, 5))
    x[1, 2] = x[3, 4] = 0
    by_entry = check_function(*relu(slope_at_0), (x,), every_entry=True).rows[0]
    assert (by_entry.compared, by_entry.kinks, by_entry.verdict) == (18, 2, "right")
    in_directions = check_function(*relu(slope_at_0), (x,)).rows[0]
    assert in_directions.compared == 3
    assert in_directions.kinks > 0


def test_a_mistake_beside_a_kink_is_found(rng):
    forward, _ = relu()
    x = rng.standard_normal((4, 5))
    x[1, 2] = 0
    with pytest.raises(GradientError, match="the sign is wrong"):
        check_function(forward, lambda dy, x: -dy * (x > 0), (x,))


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-5])
def test_steps_shrink_before_a_kink(rng, distance):
    x = rng.choice([-1.0, 1.0, distance, -distance], size=(6, 7))
    for options in ({}, {"every_entry": True}):
        row = check_function(*relu(), (x,), **options).rows[0]
        assert (row.kinks, row.verdict) == (0, "right")


def test_nothing_but_kinks_is_an_error_of_its_own():
    with pytest.raises(
        GradientError, match=r"no slope to compare .*kinks or ties(.|\n)*draw one without ties"
    ) as caught:
        check(layers.MaxPool2d(2), (np.ones((1, 4, 4, 1)),))
    assert caught.value.row.verdict == "at a kink"
    check(layers.MaxPool2d(2), (kink_free((1, 4, 4, 1), np.random.default_rng(0)),))


@pytest.mark.parametrize("shape", [(1,), (3, 4), (2, 3, 5, 7), (0, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kink_free_arrays_have_no_kinks(shape, dtype):
    x = kink_free(shape, np.random.default_rng(0), dtype)
    assert x.shape == shape
    assert x.dtype == dtype
    assert np.abs(x).max(initial=0) <= 2
    apart = 4 / max(x.size, 1) * (1 - 1e-6)
    assert np.abs(x).min(initial=2) >= apart / 2
    assert np.diff(np.sort(x, axis=None)).min(initial=4) >= apart
    others = kink_free(shape, np.random.default_rng(1), dtype)
    assert x.size < 2 or not np.array_equal(x, others)


def slope_of(f, scale=1.0, tolerance=1e-9):
    found = slopes.central(lambda t: np.array([f(t)]), np.ones(1), np.array([f(0.0)]), scale, tolerance)
    return found.value if found else None


def test_central_differences():
    assert slope_of(lambda t: np.exp(3 * t)) == pytest.approx(3, rel=1e-9)
    assert slope_of(lambda t: 1e6 + t, tolerance=1e-4) == pytest.approx(1, rel=1e-4)
    assert slope_of(lambda t: 1e12 + t) is None  # drowned in rounding
    assert slope_of(lambda t: abs(t)) is None
    assert slope_of(lambda t: abs(t) + 5 * t) is None
    assert slope_of(lambda t: abs(t - 1e-5)) == pytest.approx(-1)
    assert slope_of(lambda t: max(t, 3 * t - 1e-4)) == pytest.approx(1)
    assert slope_of(lambda t: np.float64(t) ** 2) == pytest.approx(0, abs=1e-9)


# ---- what cannot be checked


def test_float32_is_refused(rng):
    x = rng.standard_normal((3, 4))
    with pytest.raises(
        TypeError, match=r"Linear\(4, 2\): weight: expected float64, got float32: .*layer.to\(device, 'fl"
    ):
        check(layers.Linear(4, 2), (x,))
    with pytest.raises(TypeError, match=r"x: expected float64, got float32.*x\.astype\('float64'\)"):
        check(layers.ReLU(), (x.astype("float32"),))
    with pytest.raises(TypeError, match="x: expected float64, got float32"):
        check_function(kernels.relu_forward, kernels.relu_backward, (x.astype("float32"),))


def test_what_is_no_input_is_refused(rng):
    x = rng.standard_normal((3, 4))
    with pytest.raises(TypeError, match=r"inputs: expected a tuple of arrays, \(x,\) for one, got ndarray"):
        check(layers.ReLU(), x)
    with pytest.raises(TypeError, match=r"inputs: expected a tuple of arrays.*got none"):
        check(layers.ReLU(), ())
    with pytest.raises(TypeError, match="inputs: expected an array of float64 among them, got n: an int"):
        check_function(lambda n: (n, n), lambda dy, n: dy, (3,))


def test_what_forward_does_not_allow_is_said(rng):
    x = rng.standard_normal((3, 4))
    hidden = np.random.default_rng(0)
    with pytest.raises(
        ValueError, match=r"forward is random: it gives another result .*\. A random generator has to be an attribute"
    ):
        check_function(lambda x: (x * hidden.random(), x), lambda dy, x: dy, (x,))
    with pytest.raises(TypeError, match="y: expected a result of forward in float64, got float32"):
        check_function(lambda x: (x.astype("float32"), x), lambda dy, x: dy, (x,))
    with pytest.raises(ValueError, match=r"y: expected at least one number, got shape \(0, 4\)"):
        check_function(lambda x: (x * 2, x), lambda dy, x: 2 * dy, (x[:0],))
    with pytest.raises(ValueError, match="expected a finite result of forward, got NaN"):
        check_function(lambda x: (x * np.nan, x), lambda dy, x: dy, (x,))
    for forward in (lambda x: (np.abs(x), x), lambda x: (x + np.iscomplexobj(x), x)):
        with pytest.raises(ValueError, match="complex_step: expected an analytic forward"):
            check_function(forward, lambda dy, x: dy, (x,), complex_step=True)


# ---- results


def test_a_result_is_a_table(rng):
    result = check(Dense(), (rng.standard_normal((5, 4)),))
    lines = str(result).splitlines()
    assert lines[0].split() == ["op", "tensor", "method", "worst", "error", "tolerance", "verdict"]
    assert [line.split()[:3] for line in lines[1:]] == [["Dense", name, "directions"] for name in ("x", "w", "b")]
    assert all(line.endswith("1e-07      right") for line in lines[1:])
    assert len({line.index("directions") for line in lines[1:]}) == 1


def test_the_seed_decides_and_the_tolerance_is_kept(rng):
    x = rng.standard_normal((5, 4))
    assert check(Dense(), (x,), seed=1) == check(Dense(), (x,), seed=1)
    assert check(Dense(), (x,), seed=1) != check(Dense(), (x,), seed=2)

    class Rough(Dense):
        def bias_grad(self, dz):
            return dz.sum(axis=0) * 1.001

    check(Rough(), (x,), tolerance=1e-2)
    with pytest.raises(GradientError):
        check(Rough(), (x,), tolerance=1e-4)


def test_a_report_holds_what_is_wrong(monkeypatch):
    """Of all geometries the worst, with its mistake; and nothing is raised."""
    monkeypatch.setattr(
        layers.ReLU, "backward", lambda self, dy, *args: -self.kernels.relu_backward(dy, self.recall(dy))
    )
    result = gradcheck.report("reference")
    assert not result.ok
    wrong = [row for row in result if row.verdict == "wrong"]
    assert {row.op for row in wrong} == {"ReLU", "Sequential"}
    assert all(row.mistake == "the sign is wrong" for row in wrong if row.op == "ReLU")


# ---- arrays that nobody listed, and those that the user names


class Bare:
    """W and dW, no parameters(); seven times too much in dW."""

    def __init__(self, factor=7.0):
        rng = np.random.default_rng(1)
        self.W, self.factor = rng.standard_normal((4, 3)), factor
        self.dW = np.zeros((4, 3))
        self.columns = np.zeros((5, 4))  # to work in: forward writes it
        self.unused = np.ones(3)

    def forward(self, x):
        self.columns[...] = x.real
        self.x = x
        return x @ self.W

    def backward(self, dy):
        self.dW = self.factor * (self.x.T @ dy)
        return dy @ self.W.T


def test_arrays_that_nobody_listed_are_named(rng):
    layer, x = Bare(), rng.standard_normal((5, 4))
    layer.forward(x)  # activations of before are no parameters
    W, before = layer.W, layer.W.copy()
    with pytest.warns(gradcheck.UnlistedArrays, match=r'Bare: forward depends on W, which .*params=\{"W": None\}'):
        check(layer, (x,))
    assert layer.W is W
    np.testing.assert_array_equal(W, before)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_parameters_can_be_named(rng, options):
    x = rng.standard_normal((5, 4))
    layer = Bare(factor=1.0)
    dW = layer.dW
    assert "W" in {row.tensor for row in check(layer, (x,), params={"W": "dW"}, **options)} or "together" in options
    assert layer.dW is dW
    with pytest.raises(GradientError, match=r"gradient of W is wrong(.|\n)*it is 7 times what it should be"):
        check(Bare(), (x,), params={"W": "dW"}, **options)
    assert check(Bare(), (x,), params={"W": None}).ok


@pytest.mark.filterwarnings("error")
def test_names_lead_into_objects_and_dicts(rng):
    class Deep(Bare):
        def __init__(self):
            super().__init__()
            self.p, self.inner = {"W": self.W}, Bare()

        def forward(self, x):
            self.x = x
            return x @ self.p["W"] @ self.inner.W.T

        def backward(self, dy):
            self.inner.dW = dy.T @ self.x @ self.p["W"]
            self.p["dW"] = self.x.T @ dy @ self.inner.W
            return dy @ self.inner.W @ self.p["W"].T

    layer, x = Deep(), rng.standard_normal((5, 4))
    result = check(layer, (x,), params={"p.W": "p.dW", "inner.W": "inner.dW"})
    assert [row.tensor for row in result] == ["x", "p.W", "inner.W"]
    assert list(layer.p) == ["W"]  # as it was


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (["W"], TypeError, r'params: expected a dict of names, \{"W": "dW"\}.*, got list'),
        ({"W": 3}, TypeError, "params: expected a dict of names, .*, got 'W': 3"),
        ({"V": "dV"}, ValueError, r"params: 'V': expected an array of Bare \(it has 'W', 'dW', .*\), got nothing"),
        ({"factor": "dW"}, ValueError, "params: 'factor': expected an array of Bare .*, got a float"),
        ({"W": "gradient"}, GradientError, "W: expected a gradient in gradient, got None"),
        ({"W": "x"}, GradientError, r"W: expected a gradient of shape \(4, 3\), got \(5, 4\)"),
    ],
)
def test_wrong_names_meet_a_sentence(rng, params, error, message):
    with pytest.raises(error, match=message):
        check(Bare(), (rng.standard_normal((5, 4)),), params=params)


def test_a_parameter_that_parameters_forgets_is_named(rng):
    class Half(Dense):
        def parameters(self):
            return [self.weight]

    class HalfALayer(layers.Linear):
        def parameters(self):
            return [self.weight]

    class Holder:
        def __init__(self):
            self.inner = layers.Linear(4, 3).to("cpu", "float64")
            self.forward, self.backward = self.inner.forward, self.inner.backward

    x = rng.standard_normal((5, 4))
    with pytest.warns(gradcheck.UnlistedArrays, match=r"depends on bias\.data, which"):
        check(Half(), (x,))
    with pytest.warns(gradcheck.UnlistedArrays, match=r"depends on inner\.weight\.data, inner\.bias\.data, which"):
        check(Holder(), (x,))
    with pytest.raises(ValueError, match="write_grads: expected a gradient for each of weight, got 2"):
        check(HalfALayer(4, 3, init=two_doubles).to("reference"), (x,))


def two_doubles(rng, shape):
    return rng.standard_normal(shape), rng.standard_normal(shape[-1])


# ---- in a network


def test_a_layer_in_a_network_is_compared_with_the_layer_alone(rng, monkeypatch):
    """Here a container takes a subclass of Linear together with its ReLU, as if it were one."""
    from alexnet_np.layers import fused, record

    class Doubled(layers.Linear):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

        def backward(self, dy, accumulate=False, input_grad=True):
            return super().backward(2 * dy, accumulate, input_grad)

    layer, x = Doubled(4, 3).to("cpu", "float64"), rng.standard_normal((5, 4))
    assert check(layer, (x,)).ok

    def careless(chain):
        steps = [*chain]
        for i, one in enumerate(steps[:-1]):
            if isinstance(one, Doubled):
                steps[i : i + 2] = [fused.Fused(one, steps[i + 1])]
        return steps

    monkeypatch.setattr(record, "fused", careless)
    with pytest.raises(
        GradientError, match=r"y in a network is not that of the layer alone .*Sequential another forward"
    ):
        check(layer, (x,))
    assert not layer.has_saved


def test_a_gradient_that_differs_in_a_network_is_named(rng):
    class Forgets(layers.Linear):
        """Leaves out its bias where the container says accumulate=False in so many words."""

        def backward(self, dy, accumulate=None, input_grad=True):
            dx = super().backward(dy, bool(accumulate), input_grad)
            if accumulate is not None:
                self.bias.grad[...] = 0
            return dx

    with pytest.raises(GradientError, match="the gradient of bias in a network is not that of the layer alone"):
        check(Forgets(4, 3).to("reference", "float64"), (rng.standard_normal((5, 4)),))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 4, 3), (2, 3), (5,), (2, 200), (1, 2, 2, 100)])
def test_right_layers_in_a_network_are_not_accused(rng, shape):
    """A domain of positive numbers, several results, and what only a network would call otherwise."""

    class Log(layers.Layer):
        def forward(self, x, training=False):
            assert (x > 0).all()
            return self.keep(np.log(x), x)

        def backward(self, dy, accumulate=False, input_grad=True):
            return dy / self.recall(dy)

    class Alone(layers.Layer):
        """Refuses to be called with dy of another layer."""

        def forward(self, x, training=False, keep=False):
            if keep:
                raise RuntimeError
            self.x = x
            return x * x

        def backward(self, dy):
            return 2 * self.x * dy

    x = rng.uniform(0.5, 2, shape)
    for layer in (Log(), Alone()):
        assert check(layer.to("cpu", "float64"), (x,)).ok


def test_a_wide_layer_takes_no_memory_for_its_neighbours(rng):
    import tracemalloc

    x = kink_free((1, 4000), rng)
    tracemalloc.start()
    check(layers.ReLU().to("reference"), (x,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * x.nbytes


class Deaf(layers.Linear):
    """Takes accumulate or input_grad, and does something wrong with it."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.wrong = "accumulate"

    def backward(self, dy, accumulate=False, input_grad=True):
        if self.wrong == "accumulate":
            return super().backward(dy, False, input_grad)
        dx = super().backward(dy, accumulate, input_grad)
        if not input_grad and self.wrong == "bias":
            self.bias.grad *= 2
        return dx


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("accumulate", r"gradient of weight is not added to that of the backward before .*Step\(parts=2\) trains on"),
        ("bias", "gradient of bias is another one without that of x"),
    ],
)
def test_what_a_training_step_passes_is_tried(rng, wrong, message):
    layer = Deaf(4, 3).to("cpu", "float64")
    layer.wrong = wrong
    with pytest.raises(GradientError, match=message):
        check(layer, (rng.standard_normal((5, 4)),))
    assert layer.weight.grad is None
    layer.wrong = None
    assert check(layer, (rng.standard_normal((5, 4)),)).ok
    assert not layer.has_saved


# ---- objects of every kind


class Held:
    """x @ W, whatever holds W and its gradient."""

    def __init__(self, W=None):
        self.W, self.dW = np.arange(12.0).reshape(4, 3) / 5 + 0.1 if W is None else W, None

    def get(self):
        return self.W

    def put(self, gradient):
        self.dW = gradient

    def forward(self, x):
        self.x = x
        return x @ self.get()

    def backward(self, dy):
        self.put(self.x.T @ dy)
        return dy @ self.get().T


class Slots:
    __slots__ = ("W", "dW", "x")
    __init__, get, put, forward, backward = Held.__init__, Held.get, Held.put, Held.forward, Held.backward


class Keyed(Held):
    """Under a key of a dict: a text with a dot, a number, a tuple."""

    key: object = "fc.W"

    def __init__(self):
        self.p, self.g = {self.key: np.eye(4)[:, :3] + 0.2}, {}

    def get(self):
        return self.p[self.key]

    def put(self, gradient):
        self.g[self.key] = gradient


class Tuples(Keyed):
    def __init__(self):
        self.p, self.g = (np.eye(4)[:, :3] + 0.2,), ()

    def get(self):
        return self.p[0]

    def put(self, gradient):
        self.g = (gradient,)


class Lists(Tuples):
    def __init__(self):
        self.p, self.g = [np.eye(4)[:, :3] + 0.2], []

    def put(self, gradient):
        self.g = [gradient]


KEYED = [type(f"Keyed{i}", (Keyed,), {"key": key}) for i, key in enumerate(["fc.W", "W", 0, ("W", 0), "a.b.c"])]


@pytest.mark.parametrize("kind", [Held, Slots, Tuples, Lists, *KEYED])
def test_the_path_in_the_warning_is_one_that_params_takes(rng, kind):
    x = rng.standard_normal((5, 4))
    with pytest.warns(gradcheck.UnlistedArrays) as caught:
        check(kind(), (x,))
    path = str(caught[0].message).split("depends on ")[1].split(", which")[0]
    layer = kind()
    before = repr(getattr(layer, "g", None))
    grad = f"g{path[1:]}" if path.startswith("p") else f"d{path}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [row.tensor for row in check(layer, (x,), params={path: grad})] == ["x", path]
    assert repr(getattr(layer, "g", None)) == before
    assert check(kind(), (x,), params={path: None}).ok


def test_an_object_that_holds_itself_has_each_array_once(rng):
    layer = Held()
    layer.me, layer.all = layer, [layer, layer.W]
    with pytest.warns(gradcheck.UnlistedArrays, match="depends on W, which"):
        check(layer, (rng.standard_normal((5, 4)),))


def test_arrays_of_layers_in_a_container_have_a_path(rng):
    class Bare(layers.Layer):
        def __init__(self):
            super().__init__()
            self.W, self.dW = np.eye(4) + 0.1, None

        def forward(self, x, training=False):
            self.x = x
            return x @ self.W

        def backward(self, dy, accumulate=False, input_grad=True):
            self.dW = self.x.T @ dy
            return dy @ self.W.T

    net, x = layers.Sequential(Bare(), layers.ReLU()).to("cpu", "float64"), rng.standard_normal((5, 4))
    with pytest.warns(gradcheck.UnlistedArrays, match=r"depends on 0\.W, which"):
        check(net, (x,))
    assert [row.tensor for row in check(net, (x,), params={"0.W": "0.dW"})] == ["x", "0.W"]


def test_arrays_that_the_first_forward_makes_are_found(rng):
    class Lazy(Held):
        def __init__(self):
            super().__init__()
            self.W = self.buffer = None

        def forward(self, x):
            if self.W is None:
                self.W, self.buffer = np.eye(4)[:, :3] + 0.1, np.zeros_like(x)
            self.buffer[...] = x
            return super().forward(x)

    with pytest.warns(gradcheck.UnlistedArrays, match="depends on W, which"):
        check(Lazy(), (rng.standard_normal((5, 4)),))


def test_a_read_only_array_is_found_and_left_read_only(rng):
    layer = Held()
    layer.W.flags.writeable = False
    with pytest.warns(gradcheck.UnlistedArrays, match="depends on W, which"):
        check(layer, (rng.standard_normal((5, 4)),))
    assert not layer.W.flags.writeable


def test_a_gradient_that_is_written_in_place_is_restored(rng):
    class InPlace(Held):
        def put(self, gradient):
            self.dW[...] = gradient

    layer = InPlace()
    buffer = layer.dW = np.full((4, 3), 5.0)
    check(layer, (rng.standard_normal((5, 4)),), params={"W": "dW"})
    assert layer.dW is buffer
    np.testing.assert_array_equal(buffer, 5)


def no_parameters(value):
    class Lists(Held):
        parameters = value

    return Lists()


def read_only():
    layer = Held()
    layer.W.flags.writeable = False
    return layer


class Made(Held):
    def get(self):
        return 2 * self.W

    twice = property(get)


class Buffer(Held):
    def forward(self, x):
        self.mean = getattr(self, "mean", np.zeros(4))
        self.mean += x.mean(axis=0)
        return super().forward(x)


@pytest.mark.parametrize(
    ("layer", "options", "error", "message"),
    [
        (
            read_only(),
            {"params": {"W": "dW"}},
            ValueError,
            "'W': expected an array that can be changed, got a read-only",
        ),
        (
            Made(),
            {"params": {"twice": "dW"}},
            ValueError,
            "'twice': expected an array, got a property that makes a new",
        ),
        (Held(), {"params": {"w": None}}, ValueError, r"'w': expected an array of Held \(it has 'W'\), got nothing of"),
        (Held(), {"params": {"dW": "W"}}, ValueError, r"'dW': expected an array .*got a NoneType \(call forward once"),
        (no_parameters(lambda self: [self.W]), {}, TypeError, r"parameters\(\): .* name, data and grad, got a ndarray"),
        (
            no_parameters(lambda self: {"W": self.W}),
            {},
            TypeError,
            r"parameters\(\): .*, got a dict with the keys 'W': params=",
        ),
        (no_parameters(property(lambda self: [])), {}, TypeError, "parameters: expected a method, got a list: params="),
        (
            Buffer(),
            {"params": {"W": "dW"}, "complex_step": True},
            ValueError,
            "complex_step: expected .*UFuncTypeError",
        ),
    ],
)
def test_what_cannot_be_checked_meets_a_sentence(rng, layer, options, error, message):
    with pytest.raises(error, match=message):
        check(layer, (rng.standard_normal((5, 4)),), **options)


def test_everything_is_left_as_it_was_after_an_interruption(rng):
    """Also in the middle of moving a parameter."""

    class Interrupted(np.ndarray):
        left = 3

        def __imul__(self, other):
            if Interrupted.left == 0:
                raise KeyboardInterrupt
            Interrupted.left -= 1
            return super().__imul__(other)

    layer = Dense()
    layer.weight.data = layer.weight.data.view(Interrupted)
    before = layer.weight.data.copy()
    with pytest.raises(KeyboardInterrupt):
        check(layer, (rng.standard_normal((5, 4)),))
    np.testing.assert_array_equal(layer.weight.data, before)
    assert layer.weight.grad is None
