"""Operations that are computed in one pass: what they are made of, one after the other, gives the same."""

import numpy as np
from hypothesis import given, strategies as st


@st.composite
def pooled_convolutions(draw):
    """Arrays with many ties, negative windows and now and then a NaN; the options of both operations."""
    side, stride = draw(st.sampled_from([(3, 1), (5, 1), (11, 4), (2, 1)]))
    C, O = (3 if stride > 1 else draw(st.sampled_from([32, 64, 5]))), draw(st.sampled_from([32, 64, 7]))
    padding = draw(st.integers(0, 3))
    N, H, W = draw(st.integers(1, 4)), *(side + draw(st.integers(0, 12)) for _ in range(2))
    OH, OW = ((size + 2 * padding - side) // stride + 1 for size in (H, W))
    window = draw(st.tuples(st.integers(1, min(4, OH)), st.integers(1, min(4, OW))))
    pool = (window, draw(st.integers(1, 3)), min(draw(st.integers(0, 1)), min(window) // 2), draw(st.booleans()))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x = rng.integers(-1, 2, (N, H, W, C)).astype(np.float32)
    x[:, : H // 2] = 0
    if draw(st.booleans()):
        x[0, 0, 0, 0] = np.nan
    w = rng.integers(-2, 3, (side, side, C, O)).astype(np.float32)
    return (x, w, rng.integers(-40, 20, O).astype(np.float32), stride, padding), pool, draw(st.booleans())


@given(drawn=pooled_convolutions())
def test_convolution_relu_and_pooling_are_what_they_are_one_by_one(book, drawn):
    """To the bit, ties and NaN included; db may be added up in another order, or from pooled pixels alone."""
    arguments, pool, input_grad = drawn
    y, saved = book.conv2d_relu_max_pool2d_forward(*arguments, pool=pool)
    between, conv_saved = book.conv2d_relu_forward(*arguments)
    expected, pool_saved = book.max_pool2d_forward(between, *pool)
    np.testing.assert_array_equal(y, expected)
    dy = np.random.default_rng(0).standard_normal(y.shape, dtype=np.float32)
    found = book.conv2d_relu_max_pool2d_backward(dy, saved, input_grad)
    one_by_one = book.conv2d_relu_backward(book.max_pool2d_backward(dy, pool_saved), conv_saved, input_grad)
    np.testing.assert_allclose(found[2], one_by_one[2], rtol=1e-4, atol=1e-4)
    for a, b in zip(found[:2], one_by_one[:2], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a, b)
