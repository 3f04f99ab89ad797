"""What holds for every kernel in every book: see cases.py for the geometries.

The chapters' own files say what each computes; here is that backward belongs to forward, that the books
agree, and that a kernel is a pure function of arrays of any layout.
"""

from functools import partial

import numpy as np
import pytest
from cases import BOOKS_AND_CASES, CASES, Case

from alexnet_np import backend
from alexnet_np.gradcheck import check_function

reference = backend.get("reference").kernels


def kernels(select=lambda case: True):
    """The test runs over these cases, in all books."""
    pairs = {name: (book, case) for name, (book, case) in BOOKS_AND_CASES.items() if select(case)}
    return pytest.mark.parametrize(("book", "case"), pairs.values(), ids=pairs)


every_kernel = kernels()
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])

ROUNDING = {"float32": 1e-5, "float64": 1e-12}


def assert_close(found, expected, error):
    """Shapes, and the relative error in the Euclidean norm, of every array."""
    assert len(found) == len(expected)
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        assert (a is None) == (b is None), f"result {i}"
        if b is not None:
            assert a.shape == b.shape, f"result {i}"
            assert np.linalg.norm(np.ravel(a - b)) <= error * np.linalg.norm(np.ravel(b)), f"result {i}"


def test_every_kernel_has_its_cases():
    pairs = {name.removesuffix("_forward") for name in vars(reference) if name.endswith("_forward")}
    assert {case.op for case in CASES.values()} == pairs


SMALL = {name: (reference, case) for name, case in CASES.items() if case.size < 20_000}  # the others are for engines


@pytest.mark.parametrize("complex_step", [False, True], ids=["differences", "complex steps"])
@pytest.mark.parametrize(("book", "case"), SMALL.values(), ids=SMALL)
def test_slopes_confirm_the_gradients(book, case: Case, complex_step):
    """In the reference book. The others are held to its numbers below, in float32 too, where slopes say nothing."""
    forward, backward = partial(case.forward, book), partial(case.backward, book)
    check_function(forward, backward, case.arrays(), complex_step=complex_step)


@both_dtypes
@every_kernel
def test_books_agree(book, case: Case, dtype):
    """In value with the reference book's float64, in dtype with what went in."""
    arrays = case.arrays(dtype)
    results = case.run(book, arrays)
    exact = case.run(reference, [None if array is None else array.astype("float64") for array in arrays])
    assert_close(results, exact, ROUNDING[dtype])
    assert all(result is None or result.dtype == dtype for result in results)


@both_dtypes
@every_kernel
def test_arrays_may_lie_anyhow_in_memory_and_be_read_only(book, case: Case, dtype):
    def awkward(array):
        if array.ndim == 0:
            return array
        spread = np.zeros([2 * n for n in array.shape], array.dtype, order="F")[(slice(None, None, 2),) * array.ndim]
        spread[...] = array
        spread.flags.writeable = False
        return spread

    arrays = case.arrays(dtype)
    results = case.run(book, arrays)
    dy = awkward(case.dy(results[0]))
    again = case.run(book, [None if array is None else awkward(array) for array in arrays], dy)
    assert_close(again, results, ROUNDING[dtype])


@both_dtypes
@every_kernel
def test_inputs_stay_as_they_are(book, case: Case, dtype):
    arrays = case.arrays(dtype)
    y, saved = case.forward(book, *arrays)
    dy = case.dy(y)
    y_before, dy_before = y.copy(), dy.copy()
    case.backward(book, dy, saved)
    for array, untouched in zip(arrays, case.arrays(dtype), strict=True):
        assert array is None or np.array_equal(array, untouched)
    np.testing.assert_array_equal(dy, dy_before)
    np.testing.assert_array_equal(y, y_before)


@both_dtypes
@every_kernel
def test_backward_is_linear_in_dy(book, case: Case, dtype):
    arrays = case.arrays(dtype)
    y, first = case.run(book, arrays)[0], case.dy
    dy, other = first(y, 1), first(y, 2)
    expected = [
        None if a is None else 2 * a + b
        for a, b in zip(case.run(book, arrays, dy), case.run(book, arrays, other), strict=True)
    ]
    assert_close(case.run(book, arrays, 2 * dy + other)[1:], expected[1:], 10 * ROUNDING[dtype])


@both_dtypes
@every_kernel
def test_two_forwards_do_not_disturb_each_other(book, case: Case, dtype):
    """No hidden state: what one saved, and the results it gave, outlive another's forward and backward."""
    arrays, others = case.arrays(dtype), case.arrays(dtype, seed=1)
    expected = case.run(book, arrays)
    y, saved = case.forward(book, *arrays)
    y_before = y.copy()
    other_y, other_saved = case.forward(book, *others)
    case.backward(book, case.dy(other_y), other_saved)
    results = [y, *case.backward(book, case.dy(y), saved)]
    kept = [None if result is None else result.copy() for result in results]
    case.run(book, others)
    np.testing.assert_array_equal(y, y_before)
    for result, copy, first in zip(results, kept, expected, strict=True):
        if result is not None:
            np.testing.assert_array_equal(result, copy)
            np.testing.assert_array_equal(result, first)


@both_dtypes
@kernels(lambda case: case.batched)
def test_images_do_not_see_each_other(book, case: Case, dtype):
    """A batch is its images, one by one; the gradients of weights add up."""
    arrays = case.arrays(dtype)
    y, dx, *others = case.run(book, arrays)
    dy = case.dy(y)
    singly = [case.run(book, [arrays[0][n : n + 1], *arrays[1:]], dy[n : n + 1]) for n in range(len(dy))]
    joined = [np.concatenate([results[i] for results in singly]) for i in (0, 1)]
    summed = [None if g is None else sum(results[i] for results in singly) for i, g in enumerate(others, 2)]
    assert_close([y, dx, *others], joined + summed, 2 * ROUNDING[dtype])


@both_dtypes
@kernels(lambda case: case.batched)
def test_no_images(book, case: Case, dtype):
    """An empty batch goes through; the gradients of weights are 0."""
    arrays = case.arrays(dtype, N=0)
    y, dx, *others = case.run(book, arrays)
    assert y.shape == (0, *case.forward(book, *case.arrays(dtype))[0].shape[1:])
    assert dx.shape == arrays[0].shape
    for gradient, array in zip(others, arrays[1:], strict=True):
        assert (gradient is None) == (array is None)
        assert gradient is None or (gradient.shape == array.shape and not gradient.any())
    assert all(array is None or array.dtype == dtype for array in (y, dx, *others))


@both_dtypes
@kernels(lambda case: len(case.shapes) > 1)
def test_without_input_grad(book, case: Case, dtype):
    """dx is None, and the gradients of weights are the same."""
    y, saved = case.forward(book, *case.arrays(dtype))
    _, *expected = case.backward(book, case.dy(y), saved)
    dx, *grads = getattr(book, f"{case.op}_backward")(case.dy(y), saved, input_grad=False)
    assert dx is None
    assert_close(grads, expected, ROUNDING[dtype])
