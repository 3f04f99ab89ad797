"""Do the tests catch mistakes? They are planted in the reference book, one at a time, and every one must be caught.

A mutant is a chapter of kernels/reference with a piece of its text replaced, and the test that is meant to
go red for it. The same tests pass with the text as it is, and a text that is no longer there is an error.
"""

import inspect
from importlib import import_module
from itertools import product
from types import ModuleType, SimpleNamespace

import pytest
import test_activation
import test_conv
import test_dropout
import test_every_kernel
import test_fused
import test_geometry
import test_loss
import test_norm
import test_pool
import test_sgd

from alexnet_np import backend

PACKAGE = "alexnet_np.kernels.reference"
reference = vars(backend.get("reference").kernels)

slopes = test_every_kernel.test_slopes_confirm_the_gradients
conv_loops = test_conv.test_forward_is_the_sum_over_the_window
without_dx = test_every_kernel.test_without_input_grad
odd_numbers = test_activation.test_relu_where_there_is_no_slope_and_no_number
large_logits = test_activation.test_softmax_of_large_logits
shares = test_dropout.test_elements_stay_with_probability_one_minus_p
infinite_x = test_dropout.test_what_is_dropped_is_0_even_if_it_was_infinite
lrn_loops = test_norm.test_the_formula_written_out
largest = test_pool.test_the_largest_of_each_window
torchs_ties = test_pool.test_torchs_values_ties_and_nan
infinite_dy = test_pool.test_infinite_gradients_reach_the_winners_only
one_by_one = test_fused.test_convolution_relu_and_pooling_are_what_they_are_one_by_one
means = test_pool.test_the_mean_of_each_cell
uniform = test_loss.test_equal_logits_cost_the_logarithm_of_their_number
overflow = test_loss.test_large_logits
sgd_steps = test_sgd.test_each_weight_by_the_formula

MUTANTS = {
    "linear": [
        ("y += b", "y -= b", slopes),
        ("dx = dy @ w.T if", "dx = dy @ w if", slopes),
        ("x.T @ dy,", "-x.T @ dy,", slopes),
        ("x.T @ dy,", "(x.T @ dy) / len(x),", slopes),
        ("dy.sum(axis=0)", "dy.mean(axis=0)", slopes),
        ("dy.sum(axis=0)", "dy.sum(axis=1)", slopes),
        ("dy @ w.T if input_grad else None", "dy @ w.T", without_dx),
    ],
    "activation": [
        ("y = xp.maximum(x, xp.zeros((), x.dtype))", "y = x * (x > 0)", odd_numbers),
        ("xp.where(y <= 0,", "xp.where(y < 0,", slopes),
        ("xp.zeros((), dy.dtype), dy)", "xp.zeros((), dy.dtype), -dy)", slopes),
        ("xp.where(y <= 0, xp.zeros((), dy.dtype), dy)", "dy * (y > 0)", odd_numbers),
        ("return y, y\n", "return y, x + (x == 0)\n", odd_numbers),
        ("x - x.real.max(axis=1, keepdims=True)", "x", large_logits),
        ("e / e.sum(axis=1, keepdims=True)", "e / e.sum(axis=0, keepdims=True)", large_logits),
        ("p * (dp - (dp * p).sum(axis=1, keepdims=True))", "p * dp", slopes),
        ("p * (dp - (dp * p).sum(axis=1,", "p * (dp - (dp * p).sum(axis=0,", slopes),
        ("p * (dp - (dp * p).sum", "p * (dp + (dp * p).sum", slopes),
    ],
    "loss": [
        ("logits - logits.real.max(axis=1, keepdims=True)", "logits", overflow),
        ("+ label_smoothing / K", "+ label_smoothing / (K - 1)", uniform),
        ("-(q * wanted).sum() / N", "-(q * wanted).sum()", slopes),
        ("(xp.exp(log_p) - q)", "(q - xp.exp(log_p))", slopes),
        ("(dloss / log_p.shape[0])", "dloss", slopes),
        ("(dloss / log_p.shape[0])", "(dloss / log_p.shape[1])", slopes),
        ("(xp.exp(log_p) - q)", "(xp.exp(log_p) - (q > 0.5))", slopes),
    ],
    "sgd": [
        ("w -= lr * v", "w += lr * v", sgd_steps),
        ("    v += g\n    v += weight_decay * w", "    v += g\n    v -= weight_decay * w", sgd_steps),
        ("    v += g\n    v += weight_decay * w\n", "    v += g\n    w -= weight_decay * w\n", sgd_steps),
        ("    v *= momentum\n    v += g", "    v += g\n    v *= momentum", sgd_steps),
        ("(lr * weight_decay) * w", "weight_decay * w", sgd_steps),
        ("v -= lr * g", "v -= g", sgd_steps),
        ("w += v", "w += lr * v", sgd_steps),
    ],
    "geometry": [
        ("return free // stride + 1", "return -(-free // stride) + 1", test_geometry.test_alexnets_own),
        ("free = size + before + after", "free = size + 2 * before", test_geometry.test_alexnets_own),
        ("stride >= size + before else", "stride >= size + before + after else", test_geometry.test_floor_and_ceil),
        ("stride >= size + before else", "stride > size + before else", test_geometry.test_floor_and_ceil),
    ],
    "conv": [
        # im2col, and so forward and backward alike
        ("padded[:, PT : PT + H, PL : PL + W] = x", "padded[:, PL : PL + H, PT : PT + W] = x", conv_loops),
        ("cols[:, :, :, u, v] = padded", "cols[:, :, :, KH - 1 - u, v] = padded", conv_loops),
        ("output_size(W, KW, SW, (PL, PR), ceil_mode)", "output_size(W, KW, SH, (PL, PR), ceil_mode)", conv_loops),
        ("slice(g * O, (g + 1) * O)", "slice((groups - 1 - g) * O, (groups - g) * O)", conv_loops),
        # col2im
        ("return padded[:, PT : PT + H, PL : PL + W]", "return padded[:, PB : PB + H, PL : PL + W]", slopes),
        ("return padded[:, PT : PT + H, PL : PL + W]", "return padded[:, PT + 1 : PT + 1 + H, PL : PL + W]", slopes),
        ("v : v + OW * SW : SW] += cols", "v : v + OW * SW : SW] = cols", slopes),
        ("+= cols[:, :, :, u, v]", "+= cols[:, :, :, KH - 1 - u, KW - 1 - v]", slopes),
        # forward
        ("y += b\n", "pass\n", slopes),
        # backward
        ("dw[..., o] += xp", "dw[..., o] = xp", slopes),
        ("dw[..., o] += xp", "dw[..., o] -= xp", slopes),
        ("dcols[..., c] = xp", "dcols[..., c] += xp", slopes),
        ("dy[images, ..., o], w[..., o], axes", "dy[images, ..., o], w[::-1, ::-1, ..., o], axes", slopes),
        ("cols[..., c], dy[images, ..., o]", "cols[..., c], dy[images, ::-1, ..., o]", slopes),
        ("dx[images] = col2im(", "dx[images] = col2im(1 / N * ", slopes),
        ("dy.sum(axis=(0, 1, 2))", "dy.sum(axis=(0, 1))[0]", slopes),
        ("dy.sum(axis=(0, 1, 2))", "dy.mean(axis=(0, 1, 2))", slopes),
        ("dx: Any = xp.empty_like(x) if input_grad else None", "dx: Any = xp.empty_like(x)", without_dx),
    ],
    "fused": [
        ("relu_backward(dy, relu_saved), conv_saved", "dy, conv_saved", slopes),
        ("relu_saved), conv_saved, input_grad)", "relu_saved), conv_saved)", without_dx),
        ("pool_saved), conv_saved, input_grad)", "pool_saved), conv_saved)", without_dx),
        ("conv2d_relu_backward(max_pool2d_backward", "conv2d_backward(max_pool2d_backward", slopes),
        ("max_pool2d_forward(y, *pool)", "max_pool2d_forward(y, pool[0])", one_by_one),
        ("return y, (conv_saved, relu_saved)", "return -y, (conv_saved, relu_saved)", slopes),
        ("relu_backward(dy, relu_saved), linear_saved", "dy, linear_saved", slopes),
        ("relu_saved), linear_saved, input_grad)", "relu_saved), linear_saved)", without_dx),
    ],
    "pool": [
        ("padding, -xp.inf, ceil_mode)", "padding, 0.0, ceil_mode)", largest),
        ("padding, -xp.inf, ceil_mode)", "padding, -xp.inf)", largest),
        ("y = cols.max(axis=3", "y = cols.min(axis=3", largest),
        ("== won.argmax(axis=3,", "== KH * KW - 1 - won[:, :, :, ::-1].argmax(axis=3,", torchs_ties),
        ('if ties == "first":', "if False:", torchs_ties),
        ('if ties == "first":', "if True:", largest),
        (" | xp.isnan(cols)", "", torchs_ties),
        ("inside & (", "(", torchs_ties),
        ("xp.where(won, dy[:, :, :, None, :], xp.zeros((), dy.dtype))", "won * dy[:, :, :, None, :]", infinite_dy),
        ("xp.where(won, dy[:, :, :, None, :],", "xp.where(won, -dy[:, :, :, None, :],", slopes),
        ("xp.where(won, dy[:, :, :, None, :],", "xp.where(~won, dy[:, :, :, None, :],", slopes),
        ("(H, W), stride, padding)", "(H, W), stride[::-1], padding)", slopes),
        # adaptive average pooling
        (".mean(axis=(1, 2))", ".sum(axis=(1, 2)) / (H * W) * OH * OW", means),
        ("-(-(i + 1) * size // cells)", "(i + 1) * size // cells", means),
        ("j : j + 1] / pixels", "j : j + 1] * 2 / pixels", slopes),
        ("j : j + 1] / pixels", "j : j + 1]", slopes),
        ("dy[:, i : i + 1, j : j + 1]", "dy[:, OH - 1 - i : OH - i, j : j + 1]", slopes),
        ("dx[:, rows, columns] += dy", "dx[:, rows, columns] = dy", slopes),
    ],
    "dropout": [
        (">= p\n", "< p\n", shares),
        ("1 / (1 - p) if", "1 / p if", shares),
        ("if inverted and p < 1 else 1.0", "if p < 1 else 1.0", shares),
        ("xp.where(keep, x * x.dtype.type(scale), xp.zeros((), x.dtype))", "keep * x * scale", infinite_x),
        ("keep, dy, scale)", "keep[::-1], dy, scale)", slopes),
        ("keep, dy, scale)", "keep | True, dy, scale)", slopes),
        ("keep, dy, scale)", "keep, dy, 1.0)", slopes),
    ],
    "norm": [
        ("alpha / size ** len(axes) if divide_alpha else alpha", "alpha", lrn_loops),
        ("size ** len(axes)", "size", lrn_loops),
        ("before, after = size // 2, (size - 1) // 2", "before, after = (size - 1) // 2, size // 2", lrn_loops),
        ("split_channels(x, groups)\n", "split_channels(x, 1)\n", lrn_loops),
        (", transposed=True)", ")", slopes),
        ("- 2 * a * beta", "- a * beta", slopes),
        ("- 2 * a * beta", "+ 2 * a * beta", slopes),
        ("s ** (-beta - 1)", "s**-beta", slopes),
        ("(dy * s**-beta -", "(dy -", slopes),
        ("beta * x * seen", "beta * seen", slopes),
        ("_window_sum(dy * x *", "_window_sum(dy *", slopes),
    ],
}  # fmt: skip


def chapter(name: str) -> ModuleType:
    return import_module(f"{PACKAGE}.{name}")


def book_with(name: str, old: str = "", new: str = "") -> SimpleNamespace:
    """The reference book with a chapter made anew from its text, in which ``old`` is replaced."""
    source = inspect.getsource(chapter(name))
    if old:
        assert source.count(old) == 1, f"{name}.py: expected the text {old!r} once, found it {source.count(old)} times"
    module = ModuleType(f"{PACKAGE}.{name}")
    module.__package__ = PACKAGE
    exec(compile(source.replace(old, new) if old else source, f"{name}.py with a mistake", "exec"), vars(module))
    own = {
        key: value for key, value in vars(module).items() if key in reference and value.__module__ == module.__name__
    }
    return SimpleNamespace(**reference | own, own=set(own))


def run(test, book: SimpleNamespace) -> None:
    """The test with each of its parameters, for this book; of all cases those of the chapter's own ops."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    names = [(mark.args[0],) if isinstance(mark.args[0], str) else mark.args[0] for mark in marks]
    for values in product(*(mark.args[1] for mark in marks)):
        arguments: dict = {}
        for keys, value in zip(names, values, strict=True):
            arguments |= dict(zip(keys, value if len(keys) > 1 else (value,), strict=True))
        if "case" not in arguments or f"{arguments['case'].op}_backward" in book.own:
            test(**arguments | {"book": book})


EVERY_MUTANT = [
    pytest.param(name, old, new, test, id=f"{name}: {new.strip()}")
    for name, mutants in MUTANTS.items()
    for old, new, test in mutants
]


@pytest.mark.parametrize(("name", "old", "new", "test"), EVERY_MUTANT)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_mistake_is_caught(name, old, new, test):
    book = book_with(name, old, new)
    with pytest.raises((AssertionError, ValueError, TypeError, IndexError)):
        run(test, book)


CHECKS = {(name, test.__name__): (name, test) for name, mutants in MUTANTS.items() for _, _, test in mutants}


@pytest.mark.parametrize(("name", "test"), CHECKS.values(), ids=[": ".join(check) for check in CHECKS])
def test_the_text_as_it_is_passes(name, test):
    """So it is the mistake that was caught, not the way the text was run."""
    run(test, book_with(name))


def test_every_backward_has_its_mutants():
    """At least two each, in the text of the function itself."""
    for function in (value for key, value in reference.items() if key.endswith("_backward")):
        text = inspect.getsource(function)
        mutants = MUTANTS[function.__module__.removeprefix(f"{PACKAGE}.")]
        assert sum(old.strip() in text for old, _, _ in mutants) >= 2, function.__name__
