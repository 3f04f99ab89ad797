"""gradcheck and layers of the wrong form: what backward returns, what is written, what forward gives. Seeds."""

import numpy as np
import pytest

from alexnet_np import gradcheck, layers, testing
from alexnet_np.gradcheck import GradientError, check, check_function


@pytest.fixture
def rng():
    return np.random.default_rng(0)


class Pair:
    """y = x0 x1, with a backward of somebody's."""

    def __init__(self, backward):
        self.returns = backward

    def forward(self, x0, x1):
        self.x = x0, x1
        return x0 * x1

    def backward(self, dy):
        return self.returns(dy * self.x[1], dy * self.x[0])


@pytest.mark.parametrize(
    ("returns", "got"),
    [
        (lambda a, b: (a, b, a), "3"),
        (lambda a, b: a, "1"),
        (lambda a, b: {"x0": a, "x1": b}, "a dict"),
        (lambda a, b: (g for g in (a, b)), "a generator"),
        (lambda a, b: None, "1"),
        (lambda a, b: np.stack([a, b]), "1"),
    ],
)
def test_backward_returns_a_gradient_for_each_input(rng, returns, got):
    x = rng.standard_normal((2, 4, 5))
    with pytest.raises(GradientError, match=rf"expected backward to return a tuple of 2 arrays, .* x0, x1, got {got}$"):
        check(Pair(returns), (*x,))
    with pytest.raises(AssertionError, match=rf"a gradient for each of x0, x1, got {got}$"):
        testing.assert_layer_laws(Pair(returns), (*x,))
    with pytest.raises(GradientError, match="expected backward to return a tuple of 2 arrays"):
        check_function(lambda a, b: (a * b, (a, b)), lambda dy, s: returns(dy * s[1], dy * s[0]), (*x,))


def test_gradients_of_options_may_be_left_out(rng):
    a, b = rng.standard_normal((2, 4, 5))
    for extra in ((), (None,), (None, None)):
        assert check_function(
            lambda a, b, n, m: (a * b, (a, b)),
            lambda dy, s, extra=extra: (dy * s[1], dy * s[0], *extra),
            (a, b, 3, None),
        ).ok


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x * x, "expected forward to return y, saved: two values, got an array of float64"),
        (lambda x: (x, x, x), "expected forward to return y, saved: two values, got 3 values"),
        (lambda x: ([x, x], x), "y: expected forward to return an array, got a list"),
        (lambda x: (None, x), "y: expected forward to return an array, got None"),
    ],
)
def test_forward_returns_a_result_and_what_it_saved(rng, forward, message):
    with pytest.raises(TypeError, match=message):
        check_function(forward, lambda dy, x: dy, (rng.standard_normal((4, 5)),))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((np.ones((2, 3), int),), r"x: expected float64, got int64: whole numbers .* x\.astype\('float64'\)"),
        ((np.ones((2, 3)) > 0,), "x: expected float64, got bool: whole numbers have no gradient"),
        ((np.ones((2, 3), complex),), "x: expected float64, got complex128: .* real and the imaginary part two inputs"),
        (([[1.0]],), r"x: expected an array of float64, got a list: np\.asarray"),
        (({"W": np.ones(3)},), "x: expected an array of float64, got a dict"),
        ((np.ones(3), None), "x1: expected an array of float64, got None"),
        ({"x": np.ones(3)}, "inputs: expected a tuple of arrays, .*, got dict"),
    ],
)
def test_inputs_are_named_with_what_came(inputs, message):
    with pytest.raises(TypeError, match=message):
        check(layers.ReLU(), inputs)


def test_arrays_in_a_dict_are_not_passed_over(rng):
    x, W = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    for inside in ({"W": W}, [W], (W,)):
        kind = type(inside).__name__
        with pytest.raises(TypeError, match=f"p: expected an array, got a {kind} of arrays, .*: make each an input"):
            check_function(lambda x, p: (x, p), lambda dy, p: dy, (x, inside))


def test_arrays_of_every_kind_are_taken(rng):
    x = rng.standard_normal((4, 5))
    x.flags.writeable = False
    for array in (x, x[::2, ::2], x.T, np.array(3.0), np.float64(2)):
        assert check_function(lambda x: (x * x, x), lambda dy, x: 2 * dy * x, (array,)).ok
    for array in (x, np.array(3.0), x.astype("float32")):
        testing.assert_layer_laws(Square(), array)
    testing.assert_layer_laws(Total(), x)


class Square:
    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, dy):
        return 2 * dy * self.x


class Total(Square):
    """A number, not an array."""

    def forward(self, x):
        return super().forward(x).sum()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones(3, int), r"inputs: expected float32 or float64, got int64: .* x\.astype\('float32'\)"),
        ([np.ones(3)], r"inputs: expected a NumPy array, got a list: .*several inputs are a tuple"),
        ((np.ones(3), {"W": 1}), r"inputs\[1\]: expected a NumPy array, got a dict"),
        (None, "inputs: expected a NumPy array, got None"),
        ((), "inputs: expected x, or a tuple of several inputs, got an empty tuple"),
    ],
)
def test_laws_name_what_is_no_input(inputs, message):
    with pytest.raises(TypeError, match=f"assert_layer_laws: {message}"):
        testing.assert_layer_laws(Square(), inputs)


@pytest.mark.parametrize("y", [[1.0], None, 1.0, "y"])
def test_laws_name_a_result_that_is_no_array(y):
    class Odd(Square):
        def forward(self, x):
            return y

    with pytest.raises(AssertionError, match="Odd: y: expected an array, got "):
        testing.assert_layer_laws(Odd(), np.ones((2, 3)))


# ---- what is written, and what changes


def changing(numbers):
    """A square whose n-th result is changed by the n-th number."""

    class Changing(Square):
        def forward(self, x):
            return super().forward(x) * (1 + next(numbers))

    return Changing()


def test_a_forward_that_jitters_is_random(rng):
    noise = np.random.default_rng(1)
    x = rng.standard_normal((4, 5))
    for size in (1.0, 1e-8, 1e-10):
        with pytest.raises(ValueError, match=r"forward is random: .* \(relative difference .*e-"):
            check(changing(iter(lambda s=size: s * noise.random(), 0)), (x,))
    seldom = (1e-8 * (noise.random() < 0.2) for _ in range(10**6))
    with pytest.raises(ValueError, match="forward is random"):
        check(changing(seldom), (x,), every_entry=True)
    assert check(changing(iter(lambda: 1e-15 * noise.random(), 0)), (x,)).ok  # as threads add up


def test_a_result_of_changing_shape_is_said(rng):
    class Growing(Square):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return np.concatenate([super().forward(x)] * (1 + (self.calls > self.limit)))

        def backward(self, dy):
            return super().backward(dy[: len(self.x)])

    for limit in range(1, 9):
        layer = Growing()
        layer.limit = limit
        with pytest.raises(ValueError, match=r"the same shape each time, got \(\d, 5\) and \(\d, 5\)"):
            check(layer, (rng.standard_normal((4, 5)),))


def clip_in_place(self, x):
    self.x = x
    return np.maximum(x, 0, out=x).copy()


@pytest.mark.parametrize(
    ("forward", "backward", "message"),
    [
        (clip_in_place, lambda self, dy: dy * (self.x > 0), "x: forward wrote into what it was given"),
        (
            Square.forward,
            lambda self, dy: np.multiply(2 * dy, self.x, out=self.x),
            "x: backward wrote into what it was",
        ),
        (Square.forward, lambda self, dy: np.multiply(dy, 2 * self.x, out=dy), "dy: backward wrote into what it was"),
    ],
)
def test_what_is_written_is_named_with_who_wrote(rng, forward, backward, message):
    """Also where a second time changes nothing."""
    layer = type("Own", (), {"forward": forward, "backward": backward})()
    with pytest.raises(GradientError, match=message):
        check(layer, (rng.standard_normal((4, 5)),))


def test_a_backward_that_writes_what_forward_saved_or_gave(rng):
    x = rng.standard_normal((4, 5))
    with pytest.raises(GradientError, match="what forward saved: backward wrote into it"):
        check_function(lambda x: (x * x, [2 * x]), lambda dy, s: np.multiply(dy, s[0], out=s[0]), (x,))
    with pytest.raises(GradientError, match="y: backward wrote into it"):
        check_function(lambda x: (np.exp(x),) * 2, lambda dy, y: np.multiply(dy, y, out=y), (x,))


class Weight:
    name = "w"

    def __init__(self, data=None):
        self.data, self.grad = np.random.default_rng(3).standard_normal((5, 3)) if data is None else data, None


class Dense:
    def __init__(self, data=None):
        self.w = Weight(data)

    def parameters(self):
        return [self.w]

    def forward(self, x):
        self.x = x
        return x @ self.w.data

    def backward(self, dy):
        self.w.grad = self.x.T @ dy
        return dy @ self.w.data.T


def test_a_parameter_that_forward_or_backward_changes_is_named(rng):
    class Normalised(Dense):
        def forward(self, x):
            self.w.data /= np.linalg.norm(self.w.data)
            return super().forward(x)

    class Stepping(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.w.data -= 0.1 * self.w.grad
            return dx

    for layer, who in ((Normalised(), "forward"), (Stepping(), "backward")):
        with pytest.raises(GradientError, match=f"w: {who} changed this parameter, which only an optimizer may do"):
            check(layer, (rng.standard_normal((4, 5)),))


def test_results_may_be_buffers_views_inputs_and_parameters(rng):
    """Right layers: their result changes with the next forward, or is what they were given."""

    class Buffer(Dense):
        y = np.empty((4, 3))

        def forward(self, x):
            self.x = x
            return np.matmul(x, self.w.data, out=self.y)

    class Itself(Dense):
        def forward(self, x):
            self.x = x
            return self.w.data

        def backward(self, dy):
            self.w.grad = dy
            return np.zeros_like(self.x)

    x = rng.standard_normal((4, 5))
    for layer in (Buffer(), Itself()):
        assert check(layer, (x,)).ok
    assert check_function(lambda x: (x, None), lambda dy, _: dy, (x,)).ok
    assert check_function(lambda x: (x[::-1].T, None), lambda dy, _: dy.T[::-1], (x,)).ok


def test_parameters_of_every_form(rng):
    x = rng.standard_normal((4, 5))
    twice = Dense()
    twice.parameters = lambda: [twice.w, twice.w]
    for options in ({}, {"together": True}):
        assert check(twice, (x,), **options).ok

    shared, other = Dense(), Weight()
    other.data = shared.w.data
    shared.parameters = lambda: [shared.w, other]
    with pytest.raises(ValueError, match="one array for w and w: list it once, with the sum of both gradients"):
        check(shared, (x,))

    with pytest.raises(TypeError, match=r"Dense\.parameters\(\): w: data: expected an array, got a list"):
        check(Dense([[1.0]]), (x,))
    frozen = np.ones((5, 3))
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="w: data: expected an array that can be changed, got a read-only one"):
        check(Dense(frozen), (x,))

    class Listed(Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            self.w.grad = self.w.grad.tolist()
            return dx

    with pytest.raises(GradientError, match="w: expected an array as gradient, got a list"):
        check(Listed(), (x,))
    with pytest.raises(TypeError, match="layer: expected an object with a method forward, got function"):
        check(lambda x: x, (x,))


# ---- seeds


@pytest.mark.parametrize("seed", [0, 1])
def test_dy_and_masks_are_not_the_users_own_numbers(seed):
    """x * dy would be no random numbers, if dy were x: and seed 0 is everybody's."""
    seen = []

    class Spy(Square):
        def __init__(self):
            self.rng = np.random.default_rng(seed)

        def forward(self, x):
            self.mask = self.rng.standard_normal(x.shape)
            seen.append(self.mask)
            return super().forward(x) * self.mask

        def backward(self, dy):
            seen.append(dy.copy())
            return super().backward(dy) * self.mask

    x = np.random.default_rng(seed).standard_normal((4, 5))
    testing.assert_layer_laws(Spy(), x, seed=seed)
    check(Spy(), (x,), seed=seed)
    assert len(seen) > 10
    assert not any(np.isclose(array.ravel(), x.ravel()).any() for array in seen)


# ---- in a network


def test_a_layer_that_needs_dx_is_named(rng):
    """It fails, or writes NaN, only where dx is not asked for: as the first layer of a network in training."""

    class Reshapes(layers.Linear):
        def backward(self, dy, accumulate=False, input_grad=True):
            return super().backward(dy, accumulate, input_grad).reshape(-1, 4)

    class NotFinite(layers.Linear):
        def backward(self, dy, accumulate=False, input_grad=True):
            dx = super().backward(dy, accumulate, input_grad)
            if not input_grad:
                self.bias.grad[...] = np.nan
            return dx

    x = rng.standard_normal((5, 4))
    for make, message in (
        (Reshapes, r"backward of 0 \(Reshapes\(4, 4\)\) with input_grad=False stops with AttributeError: .*reshape"),
        (NotFinite, r"the gradient of 0\.bias is another one without that of x"),
    ):
        net = layers.Sequential(make(4, 4), layers.ReLU(), layers.Linear(4, 2)).to("cpu", "float64")
        with pytest.raises(GradientError, match=message) as caught:
            gradcheck.check(net, (x,))
        assert caught.value.row.verdict == "wrong"
        with pytest.raises(GradientError, match=r"Reshapes|bias"):
            gradcheck.check(make(4, 3).to("cpu", "float64"), (x,))
