"""Arrays that do not fit each other are refused in a sentence, by every kernel of every backend.

cpu/guard_pages.py shows that nothing is read or written beyond an array, whatever comes.
"""

import numpy as np
import pytest
from cases import BOOKS
from hypothesis import given, strategies as st
from misfits import one_size_off, resized
from test_every_kernel import every_kernel

from alexnet_np import testing


def sentence(function, *arguments):
    """What its ValueError says; nothing where there is none."""
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    return ""


@every_kernel
def test_arguments_one_size_off(book, case):
    for what, arrays, refused in one_size_off(case):
        said = sentence(case.forward, book, *arrays)
        if refused:
            assert ": expected " in said, what
        else:
            assert said == "" or any(words in said for words in ("does not fit", "at least one", "at least 1")), what


@every_kernel
def test_dy_one_size_off(book, case):
    y, saved = case.forward(book, *case.arrays("float32"))
    for what, dy in resized(case.dy(y)) if y.ndim else ():
        assert "_backward: dy: expected shape (" in sentence(case.backward, book, dy, saved), what


@pytest.mark.parametrize("rule", ["sgd_torch_inplace", "sgd_2012_inplace"])
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_an_update_of_another_shape(book, rule):
    """Neither beyond an array nor by broadcasting; weights and momentum stay as they are."""
    right = np.ones((3, 4), np.float32)
    for place in (1, 2):
        for _, wrong in resized(right):
            arrays = [right.copy(), right.copy(), right.copy()]
            arrays[place] = wrong
            with pytest.raises(ValueError, match=r"sgd: .*: expected shape \(3, 4\) as w has, got"):
                getattr(book, rule)(*arrays, 0.1, 0.9, 0.01)
            assert all((array == 1).all() for array in arrays)


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
@given(geometry=testing.conv_geometries(channels=4), seed=testing.seeds, place=st.integers(0, 2), data=st.data())
def test_convolutions_of_any_geometry_with_a_misfit(book, geometry, seed, place, data):
    """Either refused, or what the reference makes of the same arrays."""
    rng = np.random.default_rng(seed)
    arrays = [
        rng.standard_normal(shape, dtype=np.float32)
        for shape in (geometry.x_shape, geometry.w_shape, geometry.w_shape[3:])
    ]
    _, arrays[place] = data.draw(st.sampled_from(list(resized(arrays[place]))))
    options = geometry.stride, geometry.padding, geometry.groups
    said = [sentence(one.conv2d_forward, *arrays, *options) for one in (book, BOOKS["reference"])]
    assert said[0] == said[1]
    if not said[0]:
        results = [one.conv2d_forward(*arrays, *options)[0] for one in (book, BOOKS["reference"])]
        np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


def test_labels_that_are_no_class():
    for book in BOOKS.values():
        for labels in ([0, 3], [-1, 0]):
            with pytest.raises(ValueError, match="labels: expected 0 to 2, got"):
                book.softmax_cross_entropy_forward(np.zeros((2, 3), np.float32), np.array(labels))


@pytest.mark.parametrize(("options", "said"), [
    ({"stride": 0}, "stride: expected at least 1"),
    ({"stride": (1, -2)}, "stride: expected at least 1"),
    ({"padding": -1}, "padding: expected at least 0"),
    ({"padding": ((0, -2), (0, 0))}, "padding: expected at least 0"),
    ({"groups": 0}, "for 0 groups"),
    ({"groups": -1}, "for -1 groups"),
])  # fmt: skip
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_geometry_that_is_none(book, options, said):
    x, w, b = np.zeros((1, 5, 5, 32), "f"), np.zeros((3, 3, 32, 32), "f"), np.zeros(32, "f")
    for function in (book.conv2d_forward, book.conv2d_relu_forward, book.conv2d_relu_max_pool2d_forward):
        with pytest.raises(ValueError, match=said):
            function(x, w, b, **options)
    if "groups" not in options:
        with pytest.raises(ValueError, match=said):
            book.max_pool2d_forward(x, 3, **options)
