"""Where windows lie: counted one by one."""

from itertools import product

import pytest
from hypothesis import given, strategies as st

from alexnet_np import testing

sizes = st.integers(1, 12)


@given(size=sizes, kernel=sizes, stride=sizes, before=st.integers(0, 5), after=st.integers(0, 5))
def test_output_size_is_the_number_of_windows(book, size, kernel, stride, before, after):
    windows = book.output_size(size, kernel, stride, (before, after))
    free = size + before + after - kernel
    if free < 0:
        assert windows <= 0
    else:
        assert (windows - 1) * stride <= free < windows * stride


@given(geometry=testing.pool_geometries())
def test_ceil_mode_adds_a_window_that_starts_inside(book, geometry):
    axes = zip(geometry.x_shape[1:3], geometry.kernel_size, geometry.stride, geometry.padding, strict=True)
    for size, kernel, stride, padding in axes:
        floor, ceil = (book.output_size(size, kernel, stride, padding, mode) for mode in (False, True))
        end = size + padding[0] + padding[1]
        assert ceil - floor in (0, 1)
        if ceil > floor:
            assert (ceil - 1) * stride < size + padding[0], "the last window starts inside"
            assert (ceil - 1) * stride + kernel > end, "and hangs over the end"
        else:
            left_over = end - ((floor - 1) * stride + kernel)
            assert left_over == 0 or floor * stride >= size + padding[0], "nothing is left that a window could start on"


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (224, 11, 4, 2, 55),  # torchvision
        (227, 11, 4, 2, 56),
        (227, 11, 4, 0, 55),  # Keras, Caffe
        (224, 11, 4, (0, 3), 55),  # the code of 2012
        (55, 3, 2, 0, 27),
        (27, 3, 2, 0, 13),
        (13, 3, 2, 0, 6),
        (63, 11, 4, 2, 15),
    ],
)
def test_alexnets_own(book, size, kernel, stride, padding, expected):
    assert book.output_size(size, kernel, stride, padding) == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (5, 2, 2, 0, 2, 3),  # a pixel left over
        (6, 2, 2, 0, 3, 3),  # none left over
        (5, 2, 3, 0, 2, 2),
        (2, 2, 3, 1, 1, 1),  # the next would start on the padding at the end
        (3, 2, 2, 1, 2, 2),
        (3, 2, 2, (1, 0), 2, 2),
        (4, 3, 2, (0, 1), 2, 2),
        (4, 3, 2, 0, 1, 2),
    ],
)
def test_floor_and_ceil(book, size, kernel, stride, padding, floor, ceil):
    assert book.output_size(size, kernel, stride, padding, False) == floor
    assert book.output_size(size, kernel, stride, padding, True) == ceil


def test_padding_in_one_number_or_two(book):
    for size, kernel, stride, p in product((5, 8), (2, 3), (1, 2), (0, 1, 2)):
        assert book.output_size(size, kernel, stride, p) == book.output_size(size, kernel, stride, (p, p))
