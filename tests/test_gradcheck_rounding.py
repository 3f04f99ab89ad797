"""gradcheck and rounding, kinks, complex steps: right layers are not accused, wrong ones do not pass."""

import numpy as np
import pytest

from alexnet_np import backend, gradcheck, layers
from alexnet_np.gradcheck import GradientError, check, check_function, slopes

kernels = backend.get("reference").kernels
COMPLEX = [{"complex_step": True}, {"complex_step": True, "every_entry": True}]


@pytest.fixture
def rng():
    return np.random.default_rng(5)


class Scaled(layers.Softmax):
    """Its gradient is this many times what it should be."""

    factor = 1.0

    def backward(self, dy, accumulate=False, input_grad=True):
        return self.factor * super().backward(dy, accumulate, input_grad)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 10.0, 30.0, 100.0, 1e6])
@pytest.mark.parametrize("options", [{}, {"every_entry": True}, *COMPLEX], ids=str)
def test_a_softmax_is_right_at_every_scale(scale, options):
    """A saturated one is a difference of numbers that are almost equal: rounding is all that is left of it."""
    for seed in range(20):
        x = scale * np.random.default_rng(seed).standard_normal((3, 5))
        check(layers.Softmax().to("reference", "float64"), (x,), seed=seed, **options)


@pytest.mark.parametrize("options", COMPLEX, ids=str)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_complex_steps_find_what_is_wrong_by_a_billionth(scale, options):
    layer = Scaled().to("reference", "float64")
    layer.factor = 1 + 1e-9
    for seed in range(10):
        x = scale * np.random.default_rng(seed).standard_normal((3, 5))
        with pytest.raises(GradientError, match="the gradient of x is wrong"):
            check(layer, (x,), **options)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("options", [{}, {"every_entry": True}, *COMPLEX], ids=str)
def test_layers_are_right_at_every_scale(rng, scale, options):
    """Small inputs beside a bias of 1: their slopes are small beside y."""
    linear = layers.Linear(5, 3, init=lambda rng, shape: (np.ones(shape), np.ones(3))).to("reference", "float64")
    for layer, shape in ((linear, (4, 5)), (layers.LocalResponseNorm(3, alpha=0.5).to("reference"), (1, 2, 2, 5))):
        assert check(layer, (scale * rng.standard_normal(shape),), **options).ok


def test_functions_that_lose_digits(rng):
    """By cancellation in forward, in backward, and where both saturate."""
    x = rng.standard_normal((4, 5))
    pairs = [
        (lambda x: ((x + 1e6) - 1e6, x), lambda dy, x: dy),
        (lambda x: (np.tanh(x), x), lambda dy, x: dy * (1 - np.tanh(x) ** 2)),
        (lambda x: (1 / (1 + np.exp(-x)), x), lambda dy, x: dy / (1 + np.exp(-x)) * (1 - 1 / (1 + np.exp(-x)))),
    ]
    for forward, backward in pairs:
        for scale in (1.0, 10.0, 100.0):
            for options in COMPLEX:
                assert check_function(forward, backward, (scale * x,), **options).ok


def test_a_gradient_that_is_rounded_is_no_rounding_error(rng):
    """What float32 does to it is far beyond what float64 may."""
    with pytest.raises(GradientError, match="right to four digits"):
        check_function(
            lambda x: (np.tanh(x), x),
            lambda dy, x: (dy / np.cosh(x) ** 2).astype("float32").astype("float64"),
            (rng.standard_normal((4, 5)),),
            complex_step=True,
        )


def test_noise_is_measured():
    rng = np.random.default_rng(0)
    found = [slopes.noise(lambda t: np.sin(3 * t) + 1e-13 * rng.standard_normal()) for _ in range(200)]
    assert 0.5e-13 < np.sqrt(np.mean(np.square(found))) < 2e-13
    assert slopes.noise(lambda t: np.exp(50 * t)) < 1e-14
    assert slopes.noise(lambda t: float("nan")) == float("inf")


def test_a_forward_in_float32_is_named(rng):
    for options in ({}, {"every_entry": True}):
        with pytest.raises(GradientError, match="forward computes in float32 somewhere") as caught:
            check_function(
                lambda x: (np.tanh(x.astype("float32")).astype("float64"), x),
                lambda dy, x: dy / np.cosh(x) ** 2,
                (rng.standard_normal((4, 5)),),
                **options,
            )
        assert caught.value.row.verdict == "at a kink"


def test_a_forward_that_loses_digits_is_checked_by_longer_steps(rng):
    """exp(x) - 1 of a millionth has ten digits: enough, if the step is not a thousandth of x."""
    for seed in range(20):
        x = 1e-5 * np.random.default_rng(seed).standard_normal((4, 5))
        assert check_function(lambda x: (np.exp(x) - 1, x), lambda dy, x: dy * np.exp(x), (x,), seed=seed).ok
    with pytest.raises(GradientError, match=r"carries noise of .* or subtracts numbers that are almost equal"):
        check_function(lambda x: ((x + 1e9) - 1e9, x), lambda dy, x: dy, (1e-3 * rng.standard_normal((4, 5)),))


def test_a_tolerance_of_the_users(rng):
    """Neither a wide one nor a narrow one accuses what is right; one that differences do not reach is named."""
    x = rng.standard_normal((4, 5))
    for tolerance in (1e-3, 1e-5, 1e-8):
        assert check(layers.Softmax().to("reference", "float64"), (x,), tolerance=tolerance).ok
    with pytest.raises(GradientError, match="the tolerance of 1e-11: differences seldom agree within less than 1e-08"):
        check(layers.Softmax().to("reference", "float64"), (x,), tolerance=1e-11)
    assert check(layers.Softmax().to("reference", "float64"), (x,), tolerance=1e-15, complex_step=True).ok


@pytest.mark.parametrize("tolerance", [0, -1, 1, float("nan"), "1e-7", True, None], ids=str)
@pytest.mark.parametrize("seed", [-1, 1.5, "0", None], ids=str)
def test_options_are_named_with_what_came(tolerance, seed):
    name = "seed" if tolerance is None else "tolerance"
    with pytest.raises(ValueError, match=f"gradcheck: {name}: expected a .* got "):
        check(layers.ReLU(), (np.ones((2, 3)),), tolerance=tolerance, seed=seed)


# ---- kinks under complex steps


@pytest.mark.parametrize("slope_at_0", [0.0, 0.3, 1.0])
def test_complex_steps_leave_kinks_out_and_count_them(rng, slope_at_0):
    x = rng.standard_normal((4, 5))
    x[1, 2] = x[3, 4] = 0

    def check_relu(**options):
        return check_function(
            lambda x: (np.maximum(x, 0), x),
            lambda dy, x: dy * np.where(x == 0, slope_at_0, x > 0),
            (x,),
            complex_step=True,
            **options,
        ).rows[0]

    by_entry = check_relu(every_entry=True)
    assert (by_entry.compared, by_entry.kinks, by_entry.verdict) == (18, 2, "right")
    in_directions = check_relu()
    assert in_directions.compared == 3
    assert in_directions.kinks > 0


@pytest.mark.parametrize("ties", ["first", "all"])
def test_ties_under_complex_steps(rng, ties):
    x = np.round(2 * rng.standard_normal((2, 6, 6, 2)))
    layer = layers.MaxPool2d(2, ties=ties).to("reference")
    assert check(layer, (x,), complex_step=True).rows[0].kinks > 0
    row = check(layer, (x,), complex_step=True, every_entry=True).rows[0]
    assert row.kinks == check(layer, (x,), every_entry=True).rows[0].kinks > 0
    with pytest.raises(GradientError, match=r"no slope to compare(.|\n)*draw one without ties"):
        check(layer, (np.ones_like(x),), complex_step=True)


# ---- forwards that are not analytic


def batch_norm(right):
    def forward(x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5), x

    def backward(dy, x):
        s = np.sqrt(x.var(axis=0) + 1e-5)
        y = (x - x.mean(axis=0)) / s
        return (dy - dy.mean(axis=0) - (y * (dy * y).mean(axis=0) if right else 0)) / s

    return forward, backward


def into_a_float_array(x):
    buffer = np.empty(x.shape)
    buffer[...] = x
    return x * buffer, x


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("options", COMPLEX, ids=str)
@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        batch_norm(right=True),
        batch_norm(right=False),  # this is what the complex step of np.var says
        (lambda x: (x * np.conj(x), x), lambda dy, x: 2 * dy * x),
        (lambda x: (x * x.real, x), lambda dy, x: 2 * dy * x),
        (lambda x: (x * np.abs(x), x), lambda dy, x: 2 * dy * np.abs(x)),
        (into_a_float_array, lambda dy, x: 2 * dy * x),
        (into_a_float_array, lambda dy, x: dy * x),
    ],
)
def test_a_forward_that_is_not_analytic_is_refused(rng, forward, backward, options):
    """Whether backward is right or not: complex steps cannot tell."""
    with pytest.raises(ValueError, match=r"complex_step: expected an analytic forward, .*: leave out complex_step"):
        check_function(forward, backward, (rng.standard_normal((4, 5)),), **options)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_complex_steps_that_are_almost_the_slope_are_not_trusted(scale):
    """Near x = 0 the 1e-5 beside np.var hides it; and what a random direction shows may be small by chance."""
    forward, backward = batch_norm(right=True)
    for seed in range(20):
        x = scale * np.random.default_rng(seed).standard_normal((4, 5))
        for options in COMPLEX:
            with pytest.raises(ValueError, match="complex_step: expected an analytic forward"):
                check_function(forward, backward, (x,), seed=seed, **options)


@pytest.mark.filterwarnings("error")
def test_a_cast_that_does_no_harm_is_none(rng):
    def forward(x):
        into_a_float_array(x)
        return x * x, x

    assert check_function(forward, lambda dy, x: 2 * dy * x, (rng.standard_normal((4, 5)),), complex_step=True).ok


def test_a_wrong_gradient_of_an_analytic_forward_is_called_wrong(rng):
    with pytest.raises(GradientError, match="too large by 2"):
        check_function(
            lambda x: (x * x, x), lambda dy, x: 4 * dy * x, (rng.standard_normal((4, 5)),), complex_step=True
        )


# ---- guesses


def wrong_gradients(rng):
    """Gradients that are wrong for no reason that has a name, of a pooling and of a convolution."""
    x = gradcheck.kink_free((1, 6, 5, 2), rng)
    pool = (lambda x: kernels.max_pool2d_forward(x, 2, 1), kernels.max_pool2d_backward, x)
    w = rng.standard_normal((3, 3, 2, 2))
    conv = (
        lambda x: kernels.conv2d_forward(x, w, None, 1, 1),
        lambda dy, saved: kernels.conv2d_backward(dy, saved)[0],
        x,
    )
    noise, mask, sparse = rng.standard_normal(x.shape), rng.random(x.shape) < 0.5, rng.random(x.shape) < 0.1
    rows = np.arange(6)[:, None, None] < 3
    for forward, backward, x in (pool, conv):
        for change in (
            lambda dx: noise,
            lambda dx: 1e6 * noise,
            lambda dx: dx + 0.1 * noise,
            lambda dx: dx * mask,
            lambda dx: dx * sparse,
            lambda dx: dx * rows,
            lambda dx: np.ones_like(dx),
            lambda dx: np.broadcast_to([1.0, -2.0], dx.shape),
            lambda dx: dx + 3 * (np.arange(dx.size).reshape(dx.shape) == 17),
        ):
            yield forward, lambda dy, saved, change=change, backward=backward: change(backward(dy, saved)).copy(), x


def test_no_false_guess_is_named():
    """Neither for noise, nor for a gradient that is 0 or the same in many places: there a shift fits by chance."""
    for forward, backward, x in wrong_gradients(np.random.default_rng(0)):
        with pytest.raises(GradientError) as caught:
            check_function(forward, backward, (x,))
        assert caught.value.mistake in ("", MISSING)


MISSING = "it is right except where it is 0: entries are missing (a mask, a border, a loop that ends too early)"


def test_missing_entries_are_named(rng):
    mask = rng.random((4, 5)) < 0.5
    with pytest.raises(GradientError) as caught:
        check_function(lambda x: (np.exp(x), x), lambda dy, x: mask * dy * np.exp(x), (rng.standard_normal((4, 5)),))
    assert caught.value.mistake == MISSING


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_shifts_are_named_by_their_size(rng, shift):
    def backward(dy, saved):
        dx = np.roll(kernels.conv2d_backward(dy, saved)[0], shift, axis=2)
        dx[:, :, slice(0, shift) if shift > 0 else slice(shift, None)] = 0
        return dx

    w = rng.standard_normal((3, 3, 2, 2))
    with pytest.raises(
        GradientError, match=rf"it is shifted by {shift:+d} along axis 2: a wrong pad".replace("+", r"\+")
    ):
        check_function(
            lambda x: kernels.conv2d_forward(x, w, None, 1, 1), backward, (rng.standard_normal((2, 5, 6, 2)),)
        )
